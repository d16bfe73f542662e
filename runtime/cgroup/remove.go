package cgroup

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Remove removes the group, the groups that the container made below it, and
// the shared parent /sampan when this was its last group. A group stays busy
// for a moment after its last process was reaped, so EBUSY is tried again until
// ctx (at most 10 s) is over. Removing a group that is gone is no error.
func (g *Group) Remove(ctx context.Context) error {
	deadline := time.Now().Add(maxWait)
	for i := range g.parts {
		if err := g.parts[i].remove(ctx, deadline); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", g.path, err)
		}
	}
	g.removeParents()
	return g.Close()
}

// RemoveEmpty removes the group if nothing is in it, and reports whether it did. That
// takes one system call for each hierarchy, where Kill and Remove look into every
// group first. Otherwise those two must follow.
func (g *Group) RemoveEmpty() bool {
	for i := range g.parts {
		if err := rmdir(g.parts[i].dir()); err != nil && err != unix.ENOENT {
			return false
		}
	}
	g.removeParents()
	return g.Close() == nil
}

func (p *part) remove(ctx context.Context, deadline time.Time) error {
	var wait time.Duration
	for {
		err := rmdir(p.dir())
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY && err != unix.ENOTEMPTY {
			return fmt.Errorf("rmdir %s: %w", p.dir(), err)
		}
		if err := p.removeBelow(); err != nil {
			return err
		}
		if !pause(ctx, &wait, deadline) {
			return p.busy(ctx)
		}
	}
}

func (p *part) busy(ctx context.Context) error {
	if pids, err := p.procs(); err == nil && len(pids) > 0 {
		return fault.New(fault.Conflict, "%s is in use: %d processes are in it, one is %d", p.dir(), len(pids), pids[0])
	}
	if ctx.Err() != nil {
		return fmt.Errorf("rmdir %s: %w: %w", p.dir(), unix.EBUSY, context.Cause(ctx))
	}
	return fault.New(fault.Deadline, "rmdir %s: %w", p.dir(), unix.EBUSY)
}

// removeBelow removes the groups below, deepest first. Those with processes stay;
// the next round tries them again.
func (p *part) removeBelow() error {
	fd, err := openPath(p.dir())
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", p.dir(), err)
	}
	defer unix.Close(fd)
	return removeAt(fd, p.dir(), 0)
}

func removeAt(fd int, dir string, depth int) error {
	if depth == maxDepth {
		return fmt.Errorf("%s has groups nested deeper than %d", dir, maxDepth)
	}
	return children(fd, func(name string) error {
		child, err := openat(fd, name)
		if gone(err) || err == unix.ENOTDIR {
			return nil
		}
		if err != nil {
			return fmt.Errorf("open %q below %s: %w", name, dir, err)
		}
		err = removeAt(child, dir, depth+1)
		unix.Close(child)
		if err != nil {
			return err
		}
		err = retry(func() error { return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) })
		if err != nil && err != unix.ENOENT && err != unix.EBUSY {
			return fmt.Errorf("rmdir %q below %s: %w", name, dir, err)
		}
		return nil
	})
}

// removeParents removes Sampan's own parent groups that have become empty. A
// parent that an administrator named (--cgroup-parent) is never touched. The
// kernel refuses while another container is in it, and a Create that loses
// its parent to us makes it again.
func (g *Group) removeParents() {
	if !strings.HasPrefix(g.path, ownParent+"/") {
		return
	}
	for i := range g.parts {
		p := &g.parts[i]
		for dir := path.Dir(p.rel); strings.HasPrefix(dir, ownParent); dir = path.Dir(dir) {
			if rmdir(p.h.mount+dir) != nil {
				break
			}
		}
	}
}
