package cgroup

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// A user who is not root has a group to work in only where one was delegated to him: on
// v2 by systemd or an administrator, on v1 hardly ever. So a container of his does without
// a group where he may not make one, as with runc: the device filter is then the user
// namespace, which lets nobody make a device, and a limit is an error that says so.

// leaveOut notes a hierarchy in which the caller may not make the group, and says whether
// Create may go on without it.
func (g *Group) leaveOut(o Options, err error) bool {
	if !o.Tolerate || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EROFS) {
		return false
	}
	g.denied = true
	return true
}

// Empty reports whether the group is in no hierarchy at all.
func (g *Group) Empty() bool { return len(g.parts) == 0 }

// noGroup is for a limit that has nowhere to be written to.
func noGroup(limit string) error {
	return fault.New(fault.Forbidden, "%s cannot be set: container could not join or create cgroup; a user other than root needs a cgroup v2 group that was delegated to him", limit)
}

// Visible is what the container sees at a mount of its control groups, in the form of
// Paths: its own groups, or where it has none the caller's.
func (g *Group) Visible() map[string]string {
	if !g.Empty() {
		return g.Paths()
	}
	m, err := discover()
	data, err2 := readFile("/proc/self/cgroup")
	if err != nil || err2 != nil {
		return nil
	}
	own := &Group{layout: m.layout}
	for _, h := range m.hierarchies {
		p := part{h: h, rel: ownGroup(string(data), h)}
		if h.root != "/" { // the mount shows a part of the tree, which may not be ours
			p.rel = "/"
		}
		own.parts = append(own.parts, p)
	}
	return own.Paths()
}
