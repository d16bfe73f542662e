package hostcheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine makes a small copy of /proc and /sys.
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func find(t *testing.T, list []Result, name string) Result {
	t.Helper()
	for _, r := range list {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("nothing is said about %q", name)
	return Result{}
}

func TestFindings(t *testing.T) {
	dir := t.TempDir()
	v1 := map[string]string{
		"proc/self/ns/mnt": "", "proc/self/ns/user": "",
		"proc/self/status":                       "Name:\tx\nCapEff:\t000001fffeffffff\n",
		"proc/self/mountinfo":                    "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 8:2 / " + dir + " rw,nodev,noatime - xfs /dev/sdb rw\n",
		"proc/filesystems":                       "nodev\tproc\n\text4\nnodev\toverlay\n",
		"proc/sys/net/ipv4/ip_forward":           "0\n",
		"proc/sys/kernel/pid_max":                "1000\n",
		"proc/sys/user/max_user_namespaces":      "max\n",
		"sys/fs/cgroup/memory/memory.x":          "",
		"sys/fs/cgroup/pids/x":                   "",
		"sys/module/veth/x":                      "",
		"proc/modules":                           "nf_tables 1 0\nbridge_x 1 0\n",
		"sys/module/apparmor/parameters/enabled": "N\n",
	}
	v2 := map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  map[string]State
		found map[string]string
	}{
		{"v1", v1, map[string]State{
			"mnt namespace": OK, "pid namespace": Fault, "user namespace": OK, "hierarchy": Gap, "memory": OK, "cpu": Gap, "devices": Fault,
			"net.ipv4.ip_forward": Gap, "kernel.pid_max": Gap, "user.max_user_namespaces": OK, "overlay": OK, "AppArmor": Gap,
			"nf_tables": OK, "bridge": OK, "veth": OK, "CAP_SYS_ADMIN of the daemon": OK, "CAP_SYS_RESOURCE of the daemon": Gap,
			"data root is mounted nodev": Fault, "swap limit": Gap,
		}, map[string]string{"hierarchy": "v1", "nf_tables": "available", "bridge": "built in, or loaded on first use", "veth": "available"}},
		{"v2", v2, map[string]State{"hierarchy": OK, "memory": OK, "blkio": OK, "devices": OK, "hugetlb": Gap, "overlay": Fault, "mnt namespace": Fault},
			map[string]string{"hierarchy": "v2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := Run(Options{DataRoot: dir, ExecRoot: "/no/such", Root: machine(t, tt.files)})
			for name, state := range tt.want {
				r := find(t, list, name)
				if r.State != state || (r.State == OK) != (r.Cost == "") {
					t.Errorf("%s: %+v, want %s", name, r, state)
				}
			}
			for name, found := range tt.found {
				if r := find(t, list, name); r.Found != found {
					t.Errorf("%s: found %q", name, r.Found)
				}
			}
			if r := find(t, list, "exec root"); r.State != Fault || !strings.Contains(r.Found, "/no/such") {
				t.Errorf("exec root: %+v", r)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	for release, want := range map[string]State{"5.4.0": Fault, "5.10.0-8-amd64": Fault, "5.15.0": Gap, "6.1.0": Gap, "6.18.1": OK, "7.0": OK, "odd": OK} {
		if got, cost := judge(release); got != want || (got == OK) != (cost == "") {
			t.Errorf("%s: %s, %q", release, got, cost)
		}
	}
}
