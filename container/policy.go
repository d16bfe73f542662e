package container

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/shim/wire"
)

// policyRestarts tells whether the restart policy starts a container again
// after this exit. stopped: a user ended it.
func (s *Service) policyRestarts(r *Record, exit wire.ExitRecord, stopped bool) bool {
	if stopped || s.closing() {
		return false
	}
	return r.RestartsAfter(exit.Code)
}

// scheduleRestart starts a container again after its back-off. The lock is held.
func (s *Service) scheduleRestart(e *entry, ran time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.backoff = record.NextBackoff(e.backoff, ran)
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
