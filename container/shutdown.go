package container

import (
	"context"
	"errors"
	"sync"

	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
)

// Shutdown ends the service. With stopAll it stops the running containers first,
// each with its own time-out, until ctx ends; otherwise it lets go of them and
// they run on. No verb may be called any more.
func (s *Service) Shutdown(ctx context.Context, stopAll bool) error {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	var err error
	if stopAll {
		err = s.stopAll(ctx)
	}
	s.end()
	for _, e := range s.all() {
		e.stopTimer()
		closeAll(e.takePending())
		if r := e.current(); r != nil {
			_ = r.shim.Close()
		}
	}
	done := make(chan struct{})
	go func() {
		s.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, fault.New(fault.Deadline, "containers are still being cleaned up: %w", context.Cause(ctx)))
	}
	return err
}

func (s *Service) stopAll(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	var g sync.WaitGroup
	for _, e := range s.all() {
		if e.current() == nil {
			continue
		}
		g.Go(func() {
			// Not by a user: unless-stopped starts it with the next daemon.
			if err := s.endContainer(ctx, e); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// endContainer stops a container for the daemon's own end.
func (s *Service) endContainer(ctx context.Context, e *entry) error {
	r := e.current()
	if r == nil {
		return nil
	}
	if err := s.signal(ctx, e, r, request.StopSignal(e.record().Config)); err != nil && !errors.Is(err, fault.Conflict) {
		s.log.Warn("send the stop signal", "container", e.id, "error", err)
	}
	s.wake(ctx, e)
	if waitFor(ctx, r, stopTimeout(e.record())) {
		return nil
	}
	return s.kill(context.WithoutCancel(ctx), e, r)
}
