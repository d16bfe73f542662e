package container

import (
	"context"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/fault"
)

// Update changes limits and the restart policy: at once where the container
// runs, and for its next starts. What the kernel refuses changes nothing.
func (s *Service) Update(ctx context.Context, ref string, u *container.UpdateConfig) (warnings []string, err error) {
	e, err := s.containers.Find(ref)
	if err != nil {
		return nil, err
	}
	if err := e.Acquire(ctx); err != nil {
		return nil, err
	}
	defer e.Release()
	if warnings, err = s.update(ctx, e, u); err != nil {
		//lint:ignore ST1005 Docker's words
		return nil, fmt.Errorf("Cannot update container %s: %w", e.ID, err)
	}
	s.event(e.Record(), events.ActionUpdate, nil)
	return warnings, nil
}

// update does it; the lock is held.
func (s *Service) update(ctx context.Context, e *index.Entry, u *container.UpdateConfig) ([]string, error) {
	rec := e.Record()
	status := rec.State.Status
	if status == container.StateRemoving || status == container.StateDead {
		return nil, fault.New(fault.Conflict, "container is marked for removal and cannot be \"update\"")
	}
	hc, warnings, err := s.defaults.Load().Update(rec.HostConfig, u)
	if err != nil {
		return nil, err
	}
	more, err := s.control.Apply(ctx, e, hc, u, s.Host)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, more...)
	return warnings, s.containers.Change(e, status, true, func(r *Record) { r.HostConfig = hc })
}
