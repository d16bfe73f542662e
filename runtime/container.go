package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/pidfd"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/hook"
	"github.com/sampan-containers/sampan/runtime/rootfs"
)

// destroyTimeout bounds how long the end of a container's processes is waited for.
const destroyTimeout = 10 * time.Second

// ended reports whether the container's first process has ended.
func (c *Container) ended() (bool, error) { return pidfd.Ended(c.PidFD, 0) }

// Destroy kills what is left of the container's group, removes the group, runs the
// poststop hooks and closes the descriptors. It is idempotent. It does not reap Pid.
func (c *Container) Destroy() error {
	c.mu.Lock()
	gone := c.destroyed
	c.destroyed = true
	c.mu.Unlock()
	if gone {
		return nil
	}
	var errs []error
	if c.Cgroup != nil {
		errs = append(errs, removeGroup(c.Cgroup, c.unit))
	} else if err := pidfd.Signal(c.PidFD, unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		errs = append(errs, err)
	}
	if h := c.spec.Hooks; h != nil {
		state := &specs.State{Version: specs.Version, ID: c.ID, Status: specs.StateStopped, Pid: 0, Bundle: c.bundle, Annotations: c.spec.Annotations}
		hook.RunAll(context.Background(), "poststop", h.Poststop, state, c.warn)
	}
	errs = append(errs, c.Close())
	return errors.Join(errs...)
}

// RemoveGroup ends all processes of a group, removes and closes it.
func RemoveGroup(g *cgroup.Group) error {
	if g.RemoveEmpty() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), destroyTimeout)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		return err
	}
	if err := g.Remove(ctx); err != nil {
		return err
	}
	return g.Close()
}

// Close closes the descriptors and leaves the container alone. Console is the
// caller's.
func (c *Container) Close() error {
	for _, f := range []*os.File{c.PidFD, c.Root, c.ptmx} {
		if f != nil {
			f.Close() // closing twice does no harm
		}
	}
	return nil
}

// Load finds a container that another process launched: its first process, its
// specification, and its group (nil: further processes join no group). That pid is
// the right process (by its start time) is for the caller to know.
func Load(id string, pid int, spec *specs.Spec, g *cgroup.Group) (*Container, error) {
	if spec == nil {
		return nil, fault.New(fault.Invalid, "container %s has no specification", id)
	}
	p, err := pidfd.Open(pid)
	if errors.Is(err, os.ErrProcessDone) {
		return nil, fault.New(fault.Conflict, "container %s is not running", id)
	}
	if err != nil {
		return nil, err
	}
	c := &Container{ID: id, Pid: pid, PidFD: p, Cgroup: g, spec: spec, warn: func(string) {}}
	if spec.Linux != nil {
		for _, ns := range spec.Linux.Namespaces {
			if k, ok := kindOf(ns.Type); ok {
				c.private |= k.flag
			}
		}
	}
	c.Root, err = os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		var ended bool
		if ended, err = c.ended(); ended {
			err = errors.New("its first process has ended")
		}
	}
	if err != nil {
		c.Close()
		return nil, fault.New(fault.Conflict, "container %s: open its root: %s", id, plain(err))
	}
	c.ptmx = findPtmx(c.Root)
	return c, nil
}

// findPtmx opens /dev/pts/ptmx below the container's root, if the kernel says that it
// is the multiplexer of a devpts: the path is the container's (CVE-2025-52565).
func findPtmx(root *os.File) *os.File {
	f, err := inroot.From(root).Open("/dev/pts/ptmx", unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil || fs.Type != unix.DEVPTS_SUPER_MAGIC ||
		unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(5, 2) {
		f.Close()
		return nil
	}
	return f
}

// NewTemplate makes a mount namespace that holds only an empty read-only tmpfs, for
// LaunchSpec.Template. It may be used for any number of containers and sent to other
// processes.
func NewTemplate() (*os.File, error) { return rootfs.NewTemplate() }

// absolute makes a path of the specification absolute.
func absolute(bundle, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(bundle, path)
}
