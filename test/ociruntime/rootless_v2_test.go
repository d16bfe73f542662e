package ociruntime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// delegate makes a group of version 2 that is a user's, as systemd makes it with
// Delegate=yes: the files that cgroups.rst names are his, and his processes are in a group
// below.
func delegate(t *testing.T) (parent string) {
	t.Helper()
	const root = "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Skip("control groups are not of version 2 alone (make test-vm has that)")
	}
	must(t, os.WriteFile(root+"/cgroup.subtree_control", []byte("+cpu +memory +pids"), 0))
	parent = fmt.Sprintf("%s/ociruntime-%d", root, os.Getpid())
	session := parent + "/session"
	must(t, os.Mkdir(parent, 0o755))
	t.Cleanup(func() {
		until(t, "the end of the groups", func() bool {
			os.Remove(session)
			return os.Remove(parent) == nil
		})
	})
	must(t, os.Mkdir(session, 0o755))
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "session", "session/cgroup.procs"} {
		must(t, os.Chown(filepath.Join(parent, name), userID, userID))
	}
	return parent
}

// TestRootlessDelegatedUnified: in a group that was delegated to him a user has containers
// with limits, counts, a freezer and an end that leaves nothing.
func TestRootlessDelegatedUnified(t *testing.T) {
	parent := delegate(t)
	l := newRootlessLab(t, ours)
	l.enter = "echo $$ >" + parent + "/session/cgroup.procs\n" + l.enter
	s := userSpec("exec sleep 1000")
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	s.Linux.Resources = &specs.LinuxResources{
		Pids:    &specs.LinuxPids{Limit: ptr(int64(33))},
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(64 << 20))},
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(50000)), Period: ptr(uint64(100000))},
		Unified: map[string]string{"memory.high": "50331648"},
	}
	l.write(s)
	l.own()
	id := l.id()
	l.fine("run", "--detach", id)
	group := parent + "/sampan-" + id
	holds := func(files map[string]string) {
		t.Helper()
		for name, want := range files {
			if got := strings.TrimSpace(string(read(t, filepath.Join(group, name)))); got != want {
				t.Errorf("%s is %q, not %q", name, got, want)
			}
		}
	}
	holds(map[string]string{"pids.max": "33", "memory.max": "67108864", "cpu.max": "50000 100000", "memory.high": "50331648", "pids.current": "1"})
	l.fine("update", "--pids-limit", "44", "--memory", "80M", id)
	holds(map[string]string{"pids.max": "44", "memory.max": "83886080"})
	if out := strings.TrimSpace(l.fine("exec", id, "cat", "/proc/self/cgroup")); out != "0::/" {
		t.Errorf("exec is in another group than the container: %s", out)
	}
	l.fine("pause", id)
	holds(map[string]string{"cgroup.freeze": "1"})
	if out := l.fine("state", id); !strings.Contains(out, `"paused"`) {
		t.Errorf("state says %s", out)
	}
	l.fine("resume", id)
	if out := l.fine("events", "--stats", id); !strings.Contains(out, `"pids":{"current":1,"limit":44}`) {
		t.Errorf("events say %s", out)
	}
	if out := l.fine("ps", id); !strings.Contains(out, "sleep") {
		t.Errorf("ps says %s", out)
	}
	l.fine("delete", "--force", id)
	if left, _ := filepath.Glob(parent + "/sampan-*"); len(left) > 0 {
		t.Errorf("groups are left: %q", left)
	}

	s.Process.Args = []string{"/bin/busybox", "sh", "-c", "i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); done 2>&1; echo many"}
	s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(20))}}
	l.write(s)
	l.own()
	if r := l.as("run", id); !strings.Contains(r.out+r.err, "can't fork") {
		t.Errorf("a limit of 20 processes let 60 through: exit code %d, %q, %q", r.code, r.out, r.err)
	}
	if left, _ := filepath.Glob(parent + "/sampan-*"); len(left) > 0 {
		t.Errorf("groups are left: %q", left)
	}

	// A controller that was not delegated; what the root group has for others is his too.
	if all := string(read(t, parent+"/cgroup.controllers")); strings.Contains(all, "cpuset") {
		t.Log("nothing is left that was not delegated: " + all)
		return
	}
	s.Linux.Resources = &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}}
	l.write(s)
	l.own()
	if r := l.as("run", id); r.code != 1 || !strings.Contains(r.err, "cannot be applied") {
		t.Errorf("a limit that was not delegated: exit code %d, %q", r.code, r.err)
	}
}
