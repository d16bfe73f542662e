package container

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
)

const (
	// defaultStopTimeout is how long a container may take to end by itself.
	defaultStopTimeout = 10 * time.Second
	// killWait is how long a killed container may take to be reported dead
	// before its group is killed without the shim.
	killWait = 5 * time.Second
)

// Stop asks a container to end and kills it after the time-out. One that does
// not run is fault.NotModified.
func (s *Service) Stop(ctx context.Context, ref string, o StopOptions) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	return s.stop(ctx, e, o)
}

func (s *Service) stop(ctx context.Context, e *index.Entry, o StopOptions) error {
	sig := request.StopSignal(e.Record().Config)
	if o.Signal != "" {
		var err error
		if sig, err = request.ParseSignal(o.Signal); err != nil {
			return err
		}
	}
	err := s.stopRun(ctx, e, sig, o)
	for err == nil && s.escaped(e) {
		if err = s.stopRun(ctx, e, sig, o); errors.Is(err, fault.NotModified) {
			return nil
		}
	}
	return err
}

// escaped tells whether a container that was just stopped goes on by its restart
// policy: its run had ended by itself, and that was settled, before the stop marked it.
func (s *Service) escaped(e *index.Entry) bool {
	state := e.Record().State
	if state.Status == container.StateRestarting {
		return true
	}
	r := e.Run()
	return r != nil && !r.Stopping.Load() && state.RestartCount > 0
}

// stopRun stops the run that is there, or the wait for the next one.
func (s *Service) stopRun(ctx context.Context, e *index.Entry, sig syscall.Signal, o StopOptions) error {
	rec := e.Record()
	if rec.State.Status == container.StateRestarting {
		if done, err := s.stopRestarting(ctx, e); done || err != nil {
			return err
		}
	}
	r, err := s.settled(ctx, e)
	if err != nil {
		return err
	}
	if r == nil && e.Record().State.Running() {
		return fault.New(fault.Unavailable, "the supervisor of container %s does not answer yet; try again, or remove the container by force", e.ID)
	}
	if r == nil && e.Record().State.Status == container.StateRestarting {
		return nil // it ended meanwhile: escaped
	}
	if r == nil {
		return fault.New(fault.NotModified, "container %s is stopped already", e.ID)
	}
	r.Stopping.Store(true)
	timeout := stopTimeout(rec)
	if o.Timeout != nil {
		timeout = time.Duration(*o.Timeout) * time.Second
	}
	if err := s.signal(ctx, e, r, sig); err != nil && !errors.Is(err, fault.Conflict) {
		s.log.Warn("send the stop signal", "container", e.ID, "error", err)
	}
	s.wake(ctx, e)
	if !waitFor(ctx, r, timeout) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.kill(ctx, e, r); err != nil {
			return err
		}
	}
	s.event(e.Record(), events.ActionStop, nil)
	return nil
}

// stopTimeout is how long a container may take to end by itself.
func stopTimeout(r *Record) time.Duration {
	if r.Config.StopTimeout != nil {
		return time.Duration(*r.Config.StopTimeout) * time.Second
	}
	return defaultStopTimeout
}

// settled returns the run; if there is none it lets a start that is under way
// finish first.
func (s *Service) settled(ctx context.Context, e *index.Entry) (*index.Run, error) {
	if r := e.Run(); r != nil {
		return r, nil
	}
	if err := e.Acquire(ctx); err != nil {
		return nil, err
	}
	defer e.Release()
	return e.Run(), nil
}

// stopRestarting ends the wait for a restart; done is false if the container
// runs again by now.
func (s *Service) stopRestarting(ctx context.Context, e *index.Entry) (done bool, err error) {
	if err := e.Acquire(ctx); err != nil {
		return false, err
	}
	defer e.Release()
	if e.Record().State.Status != container.StateRestarting {
		return false, nil
	}
	e.StopTimer()
	if err := s.containers.Change(e, container.StateExited, true, func(r *Record) { r.State.Stopped = true }); err != nil {
		return false, err
	}
	e.Notify(WaitResult{StatusCode: int64(e.Record().State.ExitCode)}, WaitNotRunning)
	s.event(e.Record(), events.ActionStop, nil)
	return true, nil
}

// waitFor waits until the end of the run is recorded; a negative time-out is none.
func waitFor(ctx context.Context, r *index.Run, timeout time.Duration) bool {
	var limit <-chan time.Time
	if timeout >= 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		limit = t.C
	}
	select {
	case <-r.Settled:
		return true
	case <-limit:
	case <-ctx.Done():
	}
	return false
}

// signal sends a signal to the first process and publishes it: before, since
// the end that it may bring is published by another goroutine, at once.
func (s *Service) signal(ctx context.Context, e *index.Entry, r *index.Run, sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	s.event(e.Record(), events.ActionKill, map[string]string{"signal": strconv.Itoa(int(sig))})
	return r.Shim.Signal(ctx, sig)
}

// kill ends a run for sure: through the shim, or past one that hangs.
func (s *Service) kill(ctx context.Context, e *index.Entry, r *index.Run) error {
	err := s.signal(ctx, e, r, syscall.SIGKILL)
	if errors.Is(err, fault.Conflict) {
		err = nil // it has just ended
	}
	s.wake(ctx, e)
	if err == nil && waitFor(ctx, r, killWait) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.log.Warn("a supervisor does not answer; its container is killed without it", "container", e.ID, "error", err)
	if err := s.Groups.Destroy(ctx, s.paths.Cgroup(e.Record())); err != nil {
		return fault.New(fault.Unavailable, "kill container %s: %w", e.ID, err)
	}
	if waitFor(ctx, r, 0) {
		return nil
	}
	// A stopped shim cannot report; losing it settles the container.
	if pid := r.Shim.ShimPid(); pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if !waitFor(ctx, r, killWait) {
		return fault.New(fault.Unavailable, "container %s was killed, but its end was not reported within %v", e.ID, killWait)
	}
	return nil
}

// forceEnd kills a container that is to be removed.
func (s *Service) forceEnd(ctx context.Context, e *index.Entry) error {
	if e.Record().State.Status == container.StateRestarting {
		if done, err := s.stopRestarting(ctx, e); done || err != nil {
			return err
		}
	}
	r, err := s.settled(ctx, e)
	if err != nil {
		if e.IsRemoved() {
			return nil
		}
		return err
	}
	if r == nil {
		return s.endUnreachable(ctx, e)
	}
	r.Stopping.Store(true)
	r.Discard.Store(true)
	if err := s.kill(ctx, e, r); err != nil || !s.escaped(e) {
		return err
	}
	return s.forceEnd(ctx, e)
}

// endUnreachable kills a container whose shim has not answered since the daemon
// started. The shim, should it ever go on, finds its container dead and ends.
func (s *Service) endUnreachable(ctx context.Context, e *index.Entry) error {
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	if e.Run() != nil || !e.Record().State.Running() {
		return nil
	}
	if err := s.Groups.Destroy(ctx, s.paths.Cgroup(e.Record())); err != nil {
		return fault.New(fault.Unavailable, "kill container %s: %w", e.ID, err)
	}
	s.settle(context.WithoutCancel(ctx), e, nil, s.missedExit(e.Record()))
	return nil
}

// Kill sends a signal (name or number; empty is SIGKILL) to a running
// container; after SIGKILL it returns when the container has ended.
func (s *Service) Kill(ctx context.Context, ref, signal string) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	sig := syscall.SIGKILL
	if signal != "" {
		if sig, err = request.ParseSignal(signal); err != nil {
			return err
		}
	}
	if e.Record().State.Status == container.StateRestarting {
		done, err := s.stopRestarting(ctx, e)
		if done || err != nil {
			return err
		}
	}
	r := e.Run()
	if r == nil {
		return fault.New(fault.Conflict, "container %s is not running", e.ID)
	}
	if sig == syscall.SIGKILL || sig == request.StopSignal(e.Record().Config) {
		r.Stopping.Store(true)
	}
	if sig == syscall.SIGKILL {
		if err := s.kill(ctx, e, r); err != nil || !s.escaped(e) {
			return err
		}
		return s.Kill(ctx, ref, signal)
	}
	if err := s.signal(ctx, e, r, sig); err != nil {
		if errors.Is(err, fault.Conflict) {
			return fault.New(fault.Conflict, "container %s is not running", e.ID)
		}
		return err
	}
	if r.Stopping.Load() {
		s.wake(ctx, e)
	}
	return nil
}

// Restart stops a container if it runs and starts it.
func (s *Service) Restart(ctx context.Context, ref string, o StopOptions) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	if r := e.Run(); r != nil {
		r.Keep.Store(true)
	}
	if err := s.stop(ctx, e, o); err != nil && !errors.Is(err, fault.NotModified) {
		return err
	}
	if err := s.Start(ctx, ref); err != nil && !errors.Is(err, fault.NotModified) {
		return err
	}
	s.event(e.Record(), events.ActionRestart, nil)
	return nil
}
