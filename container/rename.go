package container

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// Rename gives a container another name; the old one is free when it returns.
func (s *Service) Rename(ctx context.Context, ref, name string) error {
	if ref == "" || strings.TrimPrefix(name, "/") == "" {
		return invalid("Neither old nor new names may be empty")
	}
	e, err := s.find(ref)
	if err != nil {
		return err
	}
	if err := e.acquire(ctx); err != nil {
		return err
	}
	defer e.release()
	name = strings.TrimPrefix(name, "/")
	old := e.record().Name
	if name == old {
		return invalid("Renaming a container with the same name as its current name")
	}
	if st := e.record().State.Status; st == container.StateRemoving || st == container.StateDead {
		return fault.New(fault.Conflict, "container %s is marked for removal and cannot be renamed", e.id)
	}
	if err := request.CheckName(name); err != nil {
		//lint:ignore ST1005 Docker's words
		return fmt.Errorf("Error when allocating new name: %w", err)
	}
	if _, err := s.reserve(name, e.id); err != nil {
		//lint:ignore ST1005 Docker's words
		return fmt.Errorf("Error when allocating new name: %w", err)
	}
	m, err := e.begin(e.record().State.Status, func(r *Record) { r.Name = name })
	if err == nil {
		err = s.Store.Batch(func(tx *state.Tx) error {
			return errors.Join(tx.Put(bucket, e.id, m.next), tx.Put(namesBucket, name, e.id), tx.Delete(namesBucket, old))
		})
	}
	if err != nil {
		s.unreserve(name, e.id)
		return fmt.Errorf("rename container %s: %w", e.id, err)
	}
	m.publish()
	s.unreserve(old, e.id)
	s.event(m.next, events.ActionRename, map[string]string{"oldName": "/" + old})
	return nil
}
