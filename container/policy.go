package container

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/shim/wire"
)

// The back-off of restarts doubles from the first to the last value.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = time.Minute
)

// policyRestarts tells whether the restart policy starts a container again
// after this exit. stopped: a user ended it.
func (s *Service) policyRestarts(r *Record, exit wire.ExitRecord, stopped bool) bool {
	if stopped || s.closing() {
		return false
	}
	p := r.HostConfig.RestartPolicy
	switch {
	case p.IsAlways(), p.IsUnlessStopped():
		return true
	case p.IsOnFailure():
		return exit.Code != 0 && (p.MaximumRetryCount == 0 || r.State.RestartCount < p.MaximumRetryCount)
	}
	return false
}

// restartsAtBoot tells whether a new daemon starts a container that does not run.
func restartsAtBoot(r *Record) bool {
	p := r.HostConfig.RestartPolicy
	switch {
	case r.State.StartedAt.IsZero():
		return false // created, never started
	case p.IsAlways():
		return true
	case p.IsUnlessStopped():
		return !r.State.Stopped
	case p.IsOnFailure():
		return !r.State.Stopped && r.State.ExitCode != 0 && (p.MaximumRetryCount == 0 || r.State.RestartCount < p.MaximumRetryCount)
	}
	return false
}

// nextBackoff is the wait before the next restart of a container that ran so long.
func nextBackoff(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= restartReset {
		return firstBackoff
	}
	return min(2*last, lastBackoff)
}

// scheduleRestart starts a container again after its back-off. The lock is held.
func (s *Service) scheduleRestart(e *entry, ran time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.backoff = nextBackoff(e.backoff, ran)
	e.restart = time.AfterFunc(e.backoff, func() { s.restartNow(e) })
}

// restartNow is the timer's function. Between the timer and the lock a user may
// have stopped, started or removed the container.
func (s *Service) restartNow(e *entry) {
	ctx := context.Background()
	if err := e.acquire(ctx); err != nil {
		return
	}
	defer e.release()
	if s.closing() || e.record().State.Status != container.StateRestarting {
		return
	}
	if err := s.start(ctx, e, nil); err != nil {
		s.log.Error("restart a container by its policy", "container", e.id, "error", err)
	}
}

// stopTimer gives up a restart that is waiting. The lock is held.
func (e *entry) stopTimer() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.restart != nil {
		e.restart.Stop()
		e.restart = nil
	}
	e.backoff = 0
}
