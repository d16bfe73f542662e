package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// maxWait bounds Kill, Remove, Freeze and Thaw when ctx has no earlier end:
	// a process in an uninterruptible sleep (a dead NFS server) may stay for ever.
	maxWait = 10 * time.Second
	// plainRounds is how often Kill goes through the processes before it takes
	// away their right to fork.
	plainRounds = 2
)

// Kill ends every process of the group and below it with SIGKILL and returns
// when they are gone or ctx (at most 10 s) is over. It works on a frozen group
// and against processes that fork without end.
func (g *Group) Kill(ctx context.Context) error {
	deadline := time.Now().Add(maxWait)
	if p := g.unified(); p != nil && !g.old {
		// Linux 5.14; one write for the whole tree, and no race with forks.
		if err := writeFile(p.dir()+"/cgroup.kill", "1"); err != nil && !gone(err) {
			return fmt.Errorf("kill the processes of cgroup %s: write %s/cgroup.kill: %w", g.path, p.dir(), err)
		}
	}
	var wait time.Duration
	for round := 0; ; round++ {
		pids, err := g.Procs()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		if round == plainRounds {
			g.stopForks()
		}
		if err := g.killAll(ctx, pids, deadline); err != nil {
			return err
		}
		if round == 0 {
			// A frozen v1 group takes the signals only when it thaws.
			g.thawForKill()
			continue
		}
		if !pause(ctx, &wait, deadline) {
			return g.undying(ctx)
		}
	}
}

func (g *Group) undying(ctx context.Context) error {
	pids, err := g.Procs()
	if err != nil || len(pids) == 0 {
		return err
	}
	if len(pids) > 5 {
		pids = pids[:5]
	}
	err = fault.New(fault.Deadline, "processes %v of cgroup %s do not end after SIGKILL; they wait for the kernel (a device, or a network file system)", pids, g.path)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}

// stopForks lets no process of the group make another one.
func (g *Group) stopForks() {
	if p := g.with("pids"); p != nil {
		_ = writeFile(p.dir()+"/pids.max", "0")
	}
}

func (g *Group) thawForKill() {
	if p := g.with("freezer"); p != nil {
		_ = writeFile(p.dir()+"/freezer.state", "THAWED")
	}
}

// killAll sends SIGKILL through pidfds. Between reading a pid and opening it the
// number may have gone to a stranger, so the group is read again in between: who
// is in it now and was opened before is meant.
func (g *Group) killAll(ctx context.Context, pids []int, deadline time.Time) error {
	type target struct{ pid, fd int }
	var targets []target
	defer func() {
		for _, t := range targets {
			unix.Close(t.fd)
		}
	}()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		switch {
		case err == nil:
			targets = append(targets, target{pid, fd})
		case err == unix.ESRCH || err == unix.EINVAL:
			// Gone, or a thread whose leader is gone.
		case err == unix.EMFILE || err == unix.ENFILE:
			// The next round takes the others.
			if len(targets) == 0 {
				return fmt.Errorf("kill the processes of cgroup %s: %w", g.path, err)
			}
		default:
			return fmt.Errorf("kill process %d of cgroup %s: %w", pid, g.path, err)
		}
	}
	now, err := g.Procs()
	if err != nil {
		return err
	}
	fds := make([]unix.PollFd, 0, len(targets))
	for _, t := range targets {
		if _, in := slices.BinarySearch(now, t.pid); !in {
			continue
		}
		if err := unix.PidfdSendSignal(t.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d of cgroup %s: %w", t.pid, g.path, err)
		}
		fds = append(fds, unix.PollFd{Fd: int32(t.fd), Events: unix.POLLIN})
	}
	waitExit(ctx, fds, deadline)
	return nil
}

// killSlice is how long one round waits for the processes it has killed, before
// it looks for new ones.
const killSlice = 20 * time.Millisecond

// waitExit waits until the processes have ended, for at most killSlice.
func waitExit(ctx context.Context, fds []unix.PollFd, deadline time.Time) {
	end := time.Now().Add(killSlice)
	if deadline.Before(end) {
		end = deadline
	}
	for len(fds) > 0 && ctx.Err() == nil {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		// Waiting for the first is enough: the others are looked at after it.
		n, err := unix.Poll(fds[:1], int(left/time.Millisecond)+1)
		if err != nil && err != unix.EINTR {
			return
		}
		if n > 0 {
			fds = fds[1:]
		}
	}
}
