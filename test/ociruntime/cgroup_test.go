package ociruntime

import (
	"os"
	"strings"
	"testing"
)

// config-linux.md, control groups: a group that is there and has processes, or is frozen,
// is refused. (The checks themselves are tested in runtime/cgroup.)
func TestExistingGroup(t *testing.T) {
	l := sleeper(t, nil)
	s := base("exec sleep 1000")
	s.Linux.CgroupsPath = "/" + l.id()
	l.write(s)
	id := l.id()
	l.ok("run", "-d", id)
	l.refused("cgroup", "run", l.id())
	if l.status(id) != "running" {
		t.Error("the first container did not survive")
	}
}

// config-linux.md, cgroup ownership: with a user namespace nothing fails, whatever the
// version of control groups; on v2 with a cgroup namespace of its own the group belongs
// to the mapped root.
func TestCgroupOwnership(t *testing.T) {
	l := newLab(t, ours)
	s := base("stat -c %u /sys/fs/cgroup; echo fine")
	inUserNS(s)
	s.Mounts[len(s.Mounts)-1].Options = []string{"nosuid", "noexec", "nodev", "rw"}
	r := l.run(s)
	if r.code != 0 || !strings.Contains(r.out, "fine") {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil && !strings.HasPrefix(r.out, "0\n") {
		t.Errorf("the group belongs to %s", r.out)
	}
}
