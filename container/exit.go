package container

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

// codeKilled is the exit code of a container whose end nobody saw.
const codeKilled = 137

// cleanWait bounds what is waited for when a lost container is cleaned up.
const cleanWait = 10 * time.Second

// supervise waits in the background for the end of a run and settles it.
func (s *Service) supervise(e *entry, r *run) {
	r.shim.OnWarning(func(text string) { s.log.Warn(text, "container", e.id) })
	s.wait.Go(func() {
		<-r.shim.Done()
		if s.closing() && stillThere(r.shim) {
			return // we let go of it; the next daemon finds it again
		}
		exit, err := r.shim.Exit()
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

func (s *Service) closing() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.down
}

// ended takes the container's lock and records the end of a run.
func (s *Service) ended(e *entry, r *run, exit wire.ExitRecord, err error) {
	ctx := context.Background()
	if errors.Is(err, handle.ErrLost) {
		exit = s.lost(ctx, e)
	}
	if err := e.acquire(ctx); err != nil {
		close(r.settled)
		return
	}
	defer e.release()
	s.settle(ctx, e, r, exit)
}

// lost cleans up behind a shim that was killed: its first process dies with it,
// the rest of the group does not.
func (s *Service) lost(ctx context.Context, e *entry) wire.ExitRecord {
	exit := wire.ExitRecord{Code: codeKilled, Signal: 9, At: time.Now().UTC(), Error: handle.ErrLost.Error()}
	ctx, cancel := context.WithTimeout(ctx, cleanWait)
	defer cancel()
	if err := s.Groups.Destroy(ctx, s.cgroupPath(e.record())); err != nil {
		s.log.Error("clean up after a killed supervisor", "container", e.id, "error", err)
	}
	// It may have been killed after its last duty.
	if left, err := handle.ReadExit(s.exitPath(e.id)); err == nil {
		return left
	}
	return exit
}

// settle records how a run ended, tells everybody, gives back the network and
// applies the restart policy or --rm. The lock is held; r is nil for a run that
// ended while no daemon was there.
func (s *Service) settle(ctx context.Context, e *entry, r *run, exit wire.ExitRecord) {
	rec := e.record()
	stopped := r != nil && r.stopping.Load()
	ran := exit.At.Sub(rec.State.StartedAt)
	again := s.policyRestarts(rec, exit, stopped)
	status := container.StateExited
	if again {
		status = container.StateRestarting
	}
	auto := rec.HostConfig.AutoRemove && !(r != nil && r.keep.Load())
	// What is removed next is not saved first. Should the daemon end in between,
	// the next one reads the exit record.
	brief := auto || r != nil && r.discard.Load()
	err := s.change(e, status, !brief, func(n *Record) {
		n.State.ExitCode, n.State.Error, n.State.OOMKilled = exit.Code, exit.Error, exit.OOM
		n.State.FinishedAt, n.State.Pid = exit.At.UTC(), 0
		n.State.Stopped = stopped
		n.State.Endpoint = nil
		n.State.Health = e.endHealth()
		if again {
			n.State.RestartCount++
		}
	})
	if err != nil {
		// The exit record stays on disk: the next daemon reads it again.
		s.log.Error("record the end of a container", "container", e.id, "error", err)
	}
	e.mu.Lock()
	e.run = nil
	e.mu.Unlock()
	s.execs.Over(e.id, codeKilled)
	after := e.record()
	if exit.OOM {
		s.event(after, events.ActionOOM, nil)
	}
	s.event(after, events.ActionDie, notice.Exit(after))
	result := WaitResult{StatusCode: int64(exit.Code)}
	e.notify(result, WaitNotRunning, WaitNextExit)

	if err := s.Networks.Leave(ctx, e.id); err != nil {
		s.log.Error("take a container out of its network", "container", e.id, "error", err)
	}
	s.networkEvent(rec, events.ActionDisconnect)
	s.unmountVolumes(rec, e.id)
	s.publish(notice.Unmounts(rec))
	if r != nil {
		close(r.settled)
	}
	switch {
	case auto:
		if err := s.remove(ctx, e, true); err != nil {
			s.log.Error("remove a container at its end", "container", e.id, "error", err)
		}
		return
	case again:
		s.scheduleRestart(e, ran)
	}
	if err := os.RemoveAll(s.runDir(e.id)); err != nil {
		s.log.Error("remove a run directory", "container", e.id, "error", err)
	}
}
