package container

import (
	"context"
	"errors"
	"sync"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
)

// Shutdown ends the service. With stopAll it stops the running containers first,
// each with its own time-out, until ctx ends; otherwise it lets go of them and
// they run on. No verb may be called any more.
func (s *Service) Shutdown(ctx context.Context, stopAll bool) error {
	s.work.Close()
	var err error
	if stopAll {
		err = s.stopAll(ctx)
	}
	s.work.End()
	for _, e := range s.containers.All() {
		e.StopTimer()
		e.ClosePending()
		if r := e.Run(); r != nil {
			_ = r.Shim.Close()
		}
	}
	err = errors.Join(err, s.work.Wait(ctx))
	s.compactor.Close()
	return err
}

func (s *Service) stopAll(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	var g sync.WaitGroup
	for _, e := range s.containers.All() {
		if e.Run() == nil {
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
func (s *Service) endContainer(ctx context.Context, e *index.Entry) error {
	r := e.Run()
	if r == nil {
		return nil
	}
	if err := s.signal(ctx, e, r, request.StopSignal(e.Record().Config)); err != nil && !errors.Is(err, fault.Conflict) {
		s.log.Warn("send the stop signal", "container", e.ID, "error", err)
	}
	s.wake(ctx, e)
	if waitFor(ctx, r, stopTimeout(e.Record())) {
		return nil
	}
	return s.kill(context.WithoutCancel(ctx), e, r)
}
