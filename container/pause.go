package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/fault"
)

// Pause freezes all processes of a running container. It returns when they stand
// still; where they do not, because one waits for the kernel, they go on running.
func (s *Service) Pause(ctx context.Context, ref string) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	switch e.Record().State.Status {
	case container.StatePaused:
		return fault.New(fault.Conflict, "container %s is already paused", e.ID)
	case container.StateRestarting:
		return fault.New(fault.Conflict, "container %s is restarting, wait until the container is running", e.ID)
	}
	if _, err := e.Live(); err != nil {
		return err
	}
	if err := s.control.Freeze(ctx, e); err != nil {
		return fmt.Errorf("cannot pause container %s: %w", e.ID, err)
	}
	auto := e.Record().HostConfig.AutoRemove
	if err := s.containers.Change(e, container.StatePaused, !auto, nil); err != nil {
		return errors.Join(err, s.control.Thaw(context.WithoutCancel(ctx), e))
	}
	s.event(e.Record(), events.ActionPause, nil)
	return nil
}

// Unpause lets the processes of a paused container go on.
func (s *Service) Unpause(ctx context.Context, ref string) error {
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	if e.Record().State.Status != container.StatePaused {
		// Without a class, as in Docker: 500.
		return fmt.Errorf("container %s is not paused", e.ID)
	}
	if err := s.thaw(ctx, e); err != nil {
		return fmt.Errorf("cannot unpause container %s: %w", e.ID, err)
	}
	return nil
}

// thaw ends a pause; the lock is held.
func (s *Service) thaw(ctx context.Context, e *index.Entry) error {
	if err := s.control.Thaw(ctx, e); err != nil {
		return err
	}
	auto := e.Record().HostConfig.AutoRemove
	if err := s.containers.Change(e, container.StateRunning, !auto, nil); err != nil {
		return err
	}
	s.event(e.Record(), events.ActionUnPause, nil)
	return nil
}

// wake lets a paused container take the signal that is to end it: a frozen
// process does not react to any.
func (s *Service) wake(ctx context.Context, e *index.Entry) {
	if e.Record().State.Status != container.StatePaused {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	err := e.Acquire(ctx)
	if err == nil {
		defer e.Release()
		if e.Record().State.Status == container.StatePaused {
			err = s.thaw(ctx, e)
		}
	}
	if err != nil && !errors.Is(err, fault.NotFound) && !errors.Is(err, fs.ErrNotExist) { // both: it has just ended
		s.log.Warn("unpause a container that is to end", "container", e.ID, "error", err)
	}
}

// frozen is the state of a container that a new daemon finds alive.
func (s *Service) frozen(r *Record) container.ContainerState {
	frozen, err := s.Groups.Frozen(s.paths.Cgroup(r))
	if err != nil {
		s.log.Warn("find out whether a container is paused", "container", r.ID, "error", err)
		frozen = r.State.Status == container.StatePaused
	}
	if frozen {
		return container.StatePaused
	}
	return container.StateRunning
}
