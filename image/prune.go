package image

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// PruneOptions select what Prune removes.
type PruneOptions struct {
	// Unused removes images with names too, when no container needs them.
	Unused    bool
	Until     time.Time                    // zero: no bound
	WantLabel func(map[string]string) bool // nil: all
}

// Prune removes images that no container, running or not, was made from.
func (s *Service) Prune(ctx context.Context, o PruneOptions) (*image.PruneReport, error) {
	report := &image.PruneReport{ImagesDeleted: []image.DeleteResponse{}}
	list, err := s.List(ctx, ListOptions{})
	if err != nil {
		return nil, err
	}
	before, err := s.LayersSize()
	if err != nil {
		return nil, err
	}
	for _, sum := range list {
		if err := ctx.Err(); err != nil {
			break
		}
		img, err := s.Get(ctx, sum.ID)
		if err != nil {
			continue
		}
		if len(img.RepoTags)+len(img.RepoDigests) > 0 && !o.Unused || len(s.users(img.ID)) > 0 {
			continue
		}
		if !o.Until.IsZero() && !img.Created.Before(o.Until) || o.WantLabel != nil && !o.WantLabel(img.Config.Config.Labels) {
			continue
		}
		names := append(append([]string{}, img.RepoTags...), img.RepoDigests...)
		if len(names) == 0 {
			names = []string{img.ID.String()}
		}
		for _, name := range names {
			deleted, err := s.Delete(ctx, name, false, true)
			if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Conflict) {
				continue // somebody was faster, or uses it by now
			}
			if err != nil {
				return nil, err
			}
			report.ImagesDeleted = append(report.ImagesDeleted, deleted...)
		}
	}
	after, err := s.LayersSize()
	if err != nil {
		return nil, err
	}
	report.SpaceReclaimed = uint64(max(before-after, 0))
	s.events.Publish(events.Message{Type: events.ImageEventType, Action: events.ActionPrune,
		Actor: events.Actor{Attributes: map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)}}})
	return report, nil
}

// LayersSize is the size of all layers of all images, each counted once.
func (s *Service) LayersSize() (int64, error) {
	var u *used
	if err := s.store.View(func(tx *state.Tx) (err error) { u, err = s.inUse(tx); return err }); err != nil {
		return 0, err
	}
	var sum int64
	for id := range u.layers {
		info, err := s.layers.Stat(id)
		if errors.Is(err, fault.NotFound) {
			continue // a damaged image must not break a sum
		}
		if err != nil {
			return 0, err
		}
		sum += info.Size
	}
	return sum, nil
}
