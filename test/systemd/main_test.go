// Package systemd tests the systemd cgroup driver where systemd is the init system: the
// runtime beside Debian's runc, and the daemon with both clients. It runs in the virtual
// machine of test/vm (layouts systemd, systemd-v1, systemd-hybrid), on any other machine
// with systemd as init, and nowhere else.
//
// systemd must see the processes that it is told of, so unlike other tests these are not
// in a PID namespace of their own. They leave no unit, group or process.
package systemd

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/systemd"
	"github.com/sampan-containers/sampan/test/lab"
)

func needSystemd(t *testing.T) {
	t.Helper()
	if !systemd.Running() || os.Geteuid() != 0 {
		t.Skip("systemd is not the init system here (make test-vm has a machine where it is)")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

// isV2 tells which limits' files there are.
func isV2(t testing.TB) bool {
	t.Helper()
	layout, err := cgroup.Mode()
	must(t, err)
	return layout == cgroup.V2
}

// show reads properties of a unit.
func show(t testing.TB, unit string, names ...string) map[string]string {
	t.Helper()
	out := lab.Run(t, nil, "systemctl", "show", "-p", strings.Join(names, ","), unit).Must(t)
	all := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if old, ok := all[name]; ok {
			value = old + "; " + value
		}
		all[name] = value
	}
	return all
}

// gone waits until systemd has forgotten a unit.
func gone(t testing.TB, unit string) {
	t.Helper()
	lab.Eventually(t, 5*time.Second, "the end of "+unit, func() bool {
		out := lab.Run(t, nil, "systemctl", "list-units", "--all", "--plain", "--no-legend", unit).Must(t)
		return strings.TrimSpace(out) == ""
	})
	left, _ := filepath.Glob("/sys/fs/cgroup/*/*/" + unit)
	more, _ := filepath.Glob("/sys/fs/cgroup/*/" + unit)
	if left = append(left, more...); len(left) > 0 {
		t.Errorf("groups are left: %v", left)
	}
}

// read returns a file of a group, from whichever hierarchy has it.
func read(t testing.TB, group, v1, v2 string) string {
	t.Helper()
	name := "/sys/fs/cgroup" + group + "/" + v2
	if !isV2(t) {
		controller, _, _ := strings.Cut(v1, ".")
		found, _ := filepath.Glob("/sys/fs/cgroup/*" + controller + "*" + group + "/" + v1)
		if len(found) == 0 {
			t.Fatalf("%s of %s is missing", v1, group)
		}
		name = found[0]
	}
	data, err := os.ReadFile(name)
	must(t, err)
	return strings.TrimSpace(string(data))
}

// bundle is a container of busybox that sleeps.
type bundle struct {
	t    testing.TB
	dir  string
	root string // of the records
}

func newBundle(t testing.TB, spec *specs.Spec) *bundle {
	t.Helper()
	b := &bundle{t: t, dir: t.TempDir(), root: t.TempDir()}
	must(t, os.MkdirAll(filepath.Join(b.dir, "rootfs/bin"), 0o755))
	for _, d := range []string{"dev", "proc", "sys", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(b.dir, "rootfs", d), 0o755))
	}
	busybox, err := exec.LookPath("busybox")
	must(t, err)
	data, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.dir, "rootfs/bin/busybox"), data, 0o755))
	for _, name := range []string{"sh", "sleep", "cat", "dd", "true", "head"} {
		must(t, os.Symlink("busybox", filepath.Join(b.dir, "rootfs/bin", name)))
	}
	raw, err := json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.dir, "config.json"), raw, 0o644))
	return b
}

// call runs a runtime; --systemd-cgroup is given.
func (b *bundle) call(program string, args ...string) lab.Result {
	b.t.Helper()
	return lab.Run(b.t, nil, append([]string{program, "--systemd-cgroup", "--root", filepath.Join(b.root, filepath.Base(program))}, args...)...)
}

// run starts a container in the background: its stdio is /dev/null, not a pipe that
// somebody waits for.
func (b *bundle) run(program, id string) {
	b.t.Helper()
	cmd := exec.Command(program, "--systemd-cgroup", "--root", filepath.Join(b.root, filepath.Base(program)),
		"--log", filepath.Join(b.dir, "log"), "run", "-d", "--bundle", b.dir, id)
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(b.dir, "log"))
		b.t.Fatalf("%s run: %v\n%s", program, err, log)
	}
}

func sleeper(cgroupsPath string, res *specs.LinuxResources) *specs.Spec {
	return &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{Args: []string{"/bin/sleep", "1000"}, Cwd: "/", Env: []string{"PATH=/bin"}},
		Root:    &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: cgroupsPath,
			Resources:   res,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace},
			},
		},
	}
}

func limits() *specs.LinuxResources {
	return &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(2048)), Quota: ptr(int64(50_000)), Period: ptr(uint64(100_000)), Cpus: "0"},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(40))},
		Devices: []specs.LinuxDeviceCgroup{
			{Allow: false, Access: "rwm"},
			{Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(200)), Access: "rw"},
		},
	}
}

func pidOf(t testing.TB, state string) int {
	t.Helper()
	var s specs.State
	must(t, json.Unmarshal([]byte(state), &s))
	return s.Pid
}

// groupOf is the group that a process is in, in systemd's hierarchy.
func groupOf(t testing.TB, pid int) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	must(t, err)
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == "name=systemd" || f[1] == "" && isV2(t) {
			return f[2]
		}
	}
	t.Fatalf("no group of systemd in %s", data)
	return ""
}
