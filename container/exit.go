package container

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/shm"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/shim/exitrecord"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

// cleanWait bounds what is waited for when a lost container is cleaned up.
const cleanWait = 10 * time.Second

// supervise waits in the background for the end of a run and settles it.
func (s *Service) supervise(e *index.Entry, r *index.Run) {
	r.Shim.OnWarning(func(text string) { s.log.Warn(text, "container", e.ID) })
	s.work.Go(func() {
		<-r.Shim.Done()
		if s.work.Closing() && stillThere(r.Shim) {
			return // we let go of it; the next daemon finds it again
		}
		exit, err := r.Shim.Exit()
		s.ended(e, r, exit, err)
	})
}

// stillThere tells a shim that Close let go of from one that is lost.
func stillThere(sh Shim) bool {
	_, err := sh.Exit()
	return errors.Is(err, handle.ErrLost) && processExists(sh.ShimPid())
}

func processExists(pid int) bool {
	if pid <= 0 {
		return false
	}
	p, err := os.FindProcess(pid)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

// ended takes the container's lock and records the end of a run.
func (s *Service) ended(e *index.Entry, r *index.Run, exit wire.ExitRecord, err error) {
	ctx := context.Background()
	if errors.Is(err, handle.ErrLost) {
		exit = s.lost(ctx, e)
	}
	if err := e.Acquire(ctx); err != nil {
		close(r.Settled)
		return
	}
	defer e.Release()
	s.settle(ctx, e, r, exit)
}

// lost cleans up behind a shim that was killed: its first process dies with it,
// the rest of the group does not.
func (s *Service) lost(ctx context.Context, e *index.Entry) wire.ExitRecord {
	exit := wire.ExitRecord{Code: record.ExitKilled, Signal: 9, At: time.Now().UTC(), Error: handle.ErrLost.Error()}
	ctx, cancel := context.WithTimeout(ctx, cleanWait)
	defer cancel()
	if err := s.Groups.Destroy(ctx, s.paths.Cgroup(e.Record())); err != nil {
		s.log.Error("clean up after a killed supervisor", "container", e.ID, "error", err)
	}
	// It may have been killed after its last duty.
	if left, err := handle.ReadExit(s.paths.ExitPath(e.ID)); err == nil {
		return left
	}
	_ = os.Remove(exitrecord.Reserved(s.paths.ExitPath(e.ID)))
	return exit
}

// settle records how a run ended, tells everybody, gives back the network and
// applies the restart policy or --rm. The lock is held; r is nil for a run that
// ended while no daemon was there.
func (s *Service) settle(ctx context.Context, e *index.Entry, r *index.Run, exit wire.ExitRecord) {
	rec := e.Record()
	stopped := r != nil && r.Stopping.Load()
	ran := exit.At.Sub(rec.State.StartedAt)
	again := !stopped && !s.work.Closing() && rec.RestartsAfter(exit.Code)
	status := container.StateExited
	if again {
		status = container.StateRestarting
	}
	auto := rec.HostConfig.AutoRemove && !(r != nil && r.Keep.Load())
	// What is removed next is not saved first. Should the daemon end in between,
	// the next one reads the exit record.
	brief := auto || r != nil && r.Discard.Load()
	err := s.containers.Change(e, status, !brief, func(n *Record) {
		n.State.ExitCode, n.State.Error, n.State.OOMKilled = exit.Code, exit.Error, exit.OOM
		n.State.FinishedAt, n.State.Pid = exit.At.UTC(), 0
		// A restart that the daemon does not live to finish is no stop by a user.
		n.State.Stopped = stopped && !(r != nil && r.Keep.Load())
		n.State.Net = nil
		n.State.Health = e.EndHealth()
		if again {
			n.State.RestartCount++
		}
	})
	if err != nil {
		// The exit record stays on disk: the next daemon reads it again.
		s.log.Error("record the end of a container", "container", e.ID, "error", err)
	}
	e.SetRun(nil)
	if request.Compresses(rec.HostConfig.LogConfig) {
		s.compactor.Finish(s.paths.LogPath(rec))
	}
	s.execs.Over(e.ID, record.ExitKilled)
	after := e.Record()
	if exit.OOM {
		s.event(after, events.ActionOOM, nil)
	}
	s.event(after, events.ActionDie, notice.Exit(after))
	result := WaitResult{StatusCode: int64(exit.Code)}
	e.Notify(result, WaitNotRunning, WaitNextExit)

	failpoint.Hit("container.end.recorded")
	if err := s.Networks.Leave(ctx, e.ID); err != nil {
		s.log.Error("take a container out of its network", "container", e.ID, "error", err)
	}
	failpoint.Hit("container.end.left")
	s.networkEvent(rec, events.ActionDisconnect)
	s.volumes.Unmount(rec, e.ID)
	s.publish(notice.Unmounts(rec))
	if r != nil {
		close(r.Settled)
	}
	switch {
	case auto:
		if err := s.remove(ctx, e, true); err != nil {
			s.log.Error("remove a container at its end", "container", e.ID, "error", err)
		}
		return
	case again && s.restoring.Load():
		// Restore starts it, in its order.
	case again:
		e.RestartLater(ran, func() { s.restartNow(e) })
	}
	if err := shm.RemoveRun(s.paths.RunDir(e.ID)); err != nil {
		s.log.Error("remove a run directory", "container", e.ID, "error", err)
	}
}

// restartNow is the timer's function. Between the timer and the lock a user may
// have stopped, started or removed the container.
func (s *Service) restartNow(e *index.Entry) {
	ctx := context.Background()
	if err := e.Acquire(ctx); err != nil {
		return
	}
	defer e.Release()
	if s.work.Closing() || e.Record().State.Status != container.StateRestarting {
		return
	}
	if err := s.start(ctx, e, nil); err != nil {
		s.log.Error("restart a container by its policy", "container", e.ID, "error", err)
	}
}
