package cgroup

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Freeze stops every process of the group and returns when all have stopped. When
// ctx (at most 10 s) is over before, the group is thawed again.
func (g *Group) Freeze(ctx context.Context) error {
	if err := g.freezer(ctx, true); err != nil {
		_ = g.freezer(context.WithoutCancel(ctx), false)
		return err
	}
	return nil
}

// Thaw lets the processes of a frozen group go on. A group that is not frozen is
// no error.
func (g *Group) Thaw(ctx context.Context) error { return g.freezer(ctx, false) }

func (g *Group) freezer(ctx context.Context, freeze bool) error {
	name, value, verb := "", "", "thaw"
	if freeze {
		verb = "freeze"
	}
	if p := g.with("freezer"); p != nil {
		name, value = p.dir()+"/freezer.state", "THAWED"
		if freeze {
			value = "FROZEN"
		}
	} else if p := g.unified(); p != nil {
		name, value = p.dir()+"/cgroup.freeze", "0"
		if freeze {
			value = "1"
		}
	} else {
		return fault.New(fault.Unavailable, "%s cgroup %s: this machine has no freezer controller mounted", verb, g.path)
	}
	deadline := time.Now().Add(maxWait)
	var wait time.Duration
	for {
		// v1 may hang in FREEZING when a process was just forking; writing
		// again makes it look once more.
		if err := writeFile(name, value); err != nil {
			if gone(err) {
				return fault.New(fault.NotFound, "%s cgroup %s: it does not exist any more", verb, g.path)
			}
			return fmt.Errorf("%s cgroup %s: write %s: %w", verb, g.path, name, err)
		}
		frozen, err := g.Frozen()
		if err != nil {
			return err
		}
		if frozen == freeze {
			return nil
		}
		if !g.awaitFreezer(ctx, &wait, deadline) {
			return fault.New(fault.Deadline, "%s cgroup %s: its processes do not react; one of them waits for the kernel (a device, or a network file system)", verb, g.path)
		}
	}
}

// eventSlice is how long one wait for an event may take before ctx is looked at.
const eventSlice = 50 * time.Millisecond

// awaitFreezer waits for a change of the freezer, and reports whether another look is due: on
// v2 by the event of cgroup.events, on v1, which has none, for a moment.
func (g *Group) awaitFreezer(ctx context.Context, wait *time.Duration, deadline time.Time) bool {
	p := g.unified()
	if p == nil || g.with("freezer") != nil {
		return pause(ctx, wait, deadline)
	}
	fd, err := open(p.dir()+"/cgroup.events", unix.O_RDONLY)
	if err != nil {
		return pause(ctx, wait, deadline)
	}
	defer unix.Close(fd)
	for {
		// Opening and reading it arms the event, so nothing is missed in between.
		var buf [256]byte
		n, err := unix.Pread(fd, buf[:], 0)
		if err != nil {
			return pause(ctx, wait, deadline)
		}
		frozen, _ := value(string(buf[:n]), "frozen")
		asked, err := readFile(p.dir() + "/cgroup.freeze")
		if err != nil || (strings.TrimSpace(string(asked)) == "1") == (frozen != 0) {
			return true
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return false
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		if _, err := unix.Poll(fds, int(eventSlice/time.Millisecond)); err != nil && err != unix.EINTR {
			return false
		}
	}
}

// refuseFrozen refuses a group that was there already and whose processes would not run.
func (g *Group) refuseFrozen() error {
	for i := range g.parts {
		p := &g.parts[i]
		if p.new || !p.h.v2 && !p.h.has("freezer") {
			continue
		}
		if frozen, err := g.Frozen(); err != nil {
			return err
		} else if frozen {
			return fault.New(fault.Conflict, "container's cgroup unexpectedly frozen: %s is, so that nothing in it would run; thaw or remove it, or choose another cgroup path", g.path)
		}
		return nil
	}
	return nil
}

// Frozen reports whether all processes of the group are stopped, by its own
// freezer or by that of a group above it.
func (g *Group) Frozen() (bool, error) {
	if p := g.with("freezer"); p != nil {
		state, err := readFile(p.dir() + "/freezer.state")
		if err != nil {
			return false, fmt.Errorf("read the freezer of cgroup %s: %w", g.path, err)
		}
		return strings.TrimSpace(string(state)) == "FROZEN", nil
	}
	p := g.unified()
	if p == nil {
		return false, nil
	}
	n, err := keyed(p.dir()+"/cgroup.events", "frozen")
	if err != nil {
		return false, fmt.Errorf("read the freezer of cgroup %s: %w", g.path, err)
	}
	return n != 0, nil
}
