package container

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/fault"
)

// Prune removes the containers that do not run and pass the filters (until,
// label, label!). What it could not remove it leaves; one that somebody starts or
// removes meanwhile is no error. With dry it only reports.
func (s *Service) Prune(ctx context.Context, f Filters, until time.Time, dry bool) (*container.PruneReport, error) {
	select {
	case s.pruning <- struct{}{}:
		defer func() { <-s.pruning }()
	default:
		return nil, fault.New(fault.Conflict, "a prune operation is already running")
	}
	report := &container.PruneReport{ContainersDeleted: []string{}}
	for _, e := range s.containers.All() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := e.Record()
		if r.State.Running() || r.State.Status == container.StateRestarting || r.State.Status == container.StateRemoving {
			continue
		}
		if !until.IsZero() && !r.Created.Before(until) || !f.Labels("label", r.Config.Labels) || f.Has("label!") && f.Labels("label!", r.Config.Labels) {
			continue
		}
		size, err := s.Snapshots.Usage(ctx, e.ID)
		if err != nil {
			s.log.Warn("size of a container", "container", e.ID, "error", err)
		}
		if dry {
			report.ContainersDeleted = append(report.ContainersDeleted, e.ID)
			report.SpaceReclaimed += uint64(max(size, 0))
			continue
		}
		if err := s.Remove(ctx, e.ID, RemoveOptions{}); err != nil {
			if !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Conflict) {
				s.log.Warn("prune a container", "container", e.ID, "error", err)
			}
			continue
		}
		report.ContainersDeleted = append(report.ContainersDeleted, e.ID)
		report.SpaceReclaimed += uint64(max(size, 0))
	}
	if dry {
		return report, nil
	}
	s.Events.Publish(events.Message{Type: events.ContainerEventType, Action: events.ActionPrune,
		Actor: events.Actor{Attributes: map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)}}})
	return report, nil
}
