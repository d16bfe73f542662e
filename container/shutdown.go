package container

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

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
		_, err = s.StopAll(ctx, StopOptions{})
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
	s.users.Close()
	return err
}

// StopAll stops the running containers side by side, each with its own signal and
// time-out, or with that of o. Nothing starts any more: the end of the daemon follows,
// and its successor starts again what has a restart policy. It returns the names of
// those that ended.
func (s *Service) StopAll(ctx context.Context, o StopOptions) (stopped []string, err error) {
	s.work.Close()
	var mu sync.Mutex
	var errs []error
	var g sync.WaitGroup
	for _, e := range s.containers.All() {
		if e.Run() == nil {
			continue
		}
		g.Go(func() {
			err := s.endContainer(ctx, e, o)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			stopped = append(stopped, e.Record().Name)
		})
	}
	g.Wait()
	slices.Sort(stopped)
	return stopped, errors.Join(errs...)
}

// endContainer stops a container for the daemon's own end, and not by a user:
// unless-stopped starts it with the next daemon.
func (s *Service) endContainer(ctx context.Context, e *index.Entry, o StopOptions) error {
	r := e.Run()
	if r == nil {
		return nil
	}
	timeout := stopTimeout(e.Record())
	if o.Timeout != nil {
		timeout = time.Duration(*o.Timeout) * time.Second
	}
	if err := s.signal(ctx, e, r, request.StopSignal(e.Record().Config)); err != nil && !errors.Is(err, fault.Conflict) {
		s.log.Warn("send the stop signal", "container", e.ID, "error", err)
	}
	s.wake(ctx, e)
	if waitFor(ctx, r, timeout) {
		return nil
	}
	return s.kill(context.WithoutCancel(ctx), e, r)
}
