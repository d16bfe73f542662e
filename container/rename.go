package container

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
)

// Rename gives a container another name; the old one is free when it returns.
func (s *Service) Rename(ctx context.Context, ref, name string) error {
	if ref == "" || strings.TrimPrefix(name, "/") == "" {
		return invalid("Neither old nor new names may be empty")
	}
	e, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	name = strings.TrimPrefix(name, "/")
	old := e.Record().Name
	if name == old {
		return invalid("Renaming a container with the same name as its current name")
	}
	if st := e.Record().State.Status; st == container.StateRemoving || st == container.StateDead {
		return fault.New(fault.Conflict, "container %s is marked for removal and cannot be renamed", e.ID)
	}
	if err := request.CheckName(name); err != nil {
		//lint:ignore ST1005 Docker's words
		return fmt.Errorf("Error when allocating new name: %w", err)
	}
	if _, err := s.containers.Reserve(name, e.ID); err != nil {
		//lint:ignore ST1005 Docker's words
		return fmt.Errorf("Error when allocating new name: %w", err)
	}
	m, err := e.Begin(e.Record().State.Status, func(r *Record) { r.Name = name })
	if err == nil {
		err = s.containers.SaveRenamed(m.Next, old)
	}
	if err != nil {
		s.containers.Unreserve(name, e.ID)
		return fmt.Errorf("rename container %s: %w", e.ID, err)
	}
	m.Publish()
	if err := s.Networks.Rename(e.ID, name); err != nil {
		s.log.Error("tell a container's networks its new name", "container", e.ID, "error", err)
	}
	s.containers.Unreserve(old, e.ID)
	s.event(m.Next, events.ActionRename, map[string]string{"oldName": "/" + old})
	return nil
}
