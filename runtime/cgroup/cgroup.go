// Package cgroup creates, limits, empties and removes the control groups of
// containers on cgroup v1, v2 and hybrid machines.
package cgroup

import (
	"context"
	"errors"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Layout says how a machine's controllers are mounted.
type Layout int

// The layouts. Hybrid has v1 hierarchies with controllers beside a v2 mount.
const (
	V1 Layout = iota + 1
	V2
	Hybrid
)

// Options of Create; the zero value is right for most callers.
type Options struct {
	// Warn receives one sentence for each limit that the kernel cannot apply
	// and that is safe to leave out (kernel memory limits, for one). Nil drops them.
	Warn func(string)
}

// Group is one container's control group in every hierarchy.
type Group struct{}

var errSoon = errors.New("cgroup: not there yet")

// Mode reports how this machine mounts its controllers.
func Mode() (Layout, error) { return 0, errSoon }

// Create makes the group in all hierarchies and applies the limits. The path is
// absolute from the root of each hierarchy ("/sampan/ID"); a relative one lies
// below the caller's own group. An existing group with processes in it is refused
// (fault.Conflict). On failure everything that was made is removed again.
func Create(path string, res *specs.LinuxResources, o Options) (*Group, error) { return nil, errSoon }

// Load finds an existing group by the path that Create was given. Hierarchies in
// which the group is missing are left out; if it is missing in all of them the
// error is fault.NotFound.
func Load(path string) (*Group, error) { return nil, errSoon }

// Path returns the path that Create or Load was given.
func (g *Group) Path() string { return "" }

// Paths returns the group's directory for each controller; a named hierarchy is
// "name=systemd", the v2 group is "".
func (g *Group) Paths() map[string]string { return nil }

// TaskFiles opens the tasks file of each v1 hierarchy, write-only and
// close-on-exec. A single-threaded child joins by writing "0" into each. The
// caller closes them. Empty on a pure v2 machine.
func (g *Group) TaskFiles() ([]*os.File, error) { return nil, errSoon }

// DirFD returns the v2 group's directory for clone3's CLONE_INTO_CGROUP, and
// false where the group has no v2 part. The file belongs to the Group.
func (g *Group) DirFD() (*os.File, bool) { return nil, false }

// Procs lists the processes of the group and of the groups below it.
func (g *Group) Procs() ([]int, error) { return nil, errSoon }

// Kill ends every process of the group and below it with SIGKILL and returns
// when they are gone or ctx (at most 10 s) is over.
func (g *Group) Kill(ctx context.Context) error { return errSoon }

// Remove removes the group, the groups that the container made below it, and
// the shared parent /sampan when it was the last. Processes that are just
// ending are waited for. Removing a group that is gone is no error.
func (g *Group) Remove(ctx context.Context) error { return errSoon }

// Close closes the descriptors of the Group and leaves the group in place.
func (g *Group) Close() error { return nil }

// OOMKilled reports whether the kernel killed a process of the group for lack
// of memory. Ask before Remove.
func (g *Group) OOMKilled() (bool, error) { return false, errSoon }

// Freeze stops every process of the group; Thaw lets them go on.
func (g *Group) Freeze(ctx context.Context) error { return errSoon }

// Thaw lets the processes of a frozen group go on.
func (g *Group) Thaw(ctx context.Context) error { return errSoon }

// Frozen reports whether the group is frozen or about to be.
func (g *Group) Frozen() (bool, error) { return false, errSoon }

// Update applies the limits that res names and leaves the others alone.
func (g *Group) Update(res *specs.LinuxResources) error { return errSoon }
