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
	DryRun    bool                         // tell what would go
}

// errDryRun takes back what a dry run did in its transaction.
var errDryRun = errors.New("dry run")

// Prune removes images that no container, running or not, was made from.
func (s *Service) Prune(ctx context.Context, o PruneOptions) (*image.PruneReport, error) {
	report := &image.PruneReport{ImagesDeleted: []image.DeleteResponse{}}
	if o.DryRun {
		return report, s.dryPrune(ctx, o, report)
	}
	before, err := s.DiskUsage()
	if err != nil {
		return nil, err
	}
	err = s.prunable(ctx, o, func(name string) error {
		deleted, err := s.Delete(ctx, name, false, true)
		report.ImagesDeleted = append(report.ImagesDeleted, deleted...)
		return err
	})
	if err == nil {
		err = s.dropRemains()
	}
	if err != nil {
		return nil, err
	}
	after, err := s.DiskUsage()
	if err != nil {
		return nil, err
	}
	report.SpaceReclaimed = uint64(max(before-after, 0))
	s.events.Publish(events.Message{Type: events.ImageEventType, Action: events.ActionPrune,
		Actor: events.Actor{Attributes: map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)}}})
	return report, nil
}

// dryPrune deletes in a transaction that does not commit.
func (s *Service) dryPrune(ctx context.Context, o PruneOptions, report *image.PruneReport) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.store.Update(func(tx *state.Tx) error {
		before, err := s.usage(tx)
		if err != nil {
			return err
		}
		err = s.prunable(ctx, o, func(name string) error {
			d := &deletion{s: s, tx: tx, prune: true}
			err := d.run(name)
			if err == nil {
				report.ImagesDeleted = append(report.ImagesDeleted, d.response...)
			}
			return err
		})
		if err != nil {
			return err
		}
		after, err := s.usage(tx)
		if err != nil {
			return err
		}
		report.SpaceReclaimed = uint64(max(before-after, 0))
		return errDryRun
	})
	if errors.Is(err, errDryRun) {
		return nil
	}
	return err
}

// prunable calls remove with every name of every image that o selects.
func (s *Service) prunable(ctx context.Context, o PruneOptions, remove func(name string) error) error {
	list, err := s.List(ctx, ListOptions{})
	if err != nil {
		return err
	}
	for _, sum := range list {
		if err := ctx.Err(); err != nil {
			return err
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
			err := remove(name)
			if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Conflict) {
				continue // somebody was faster, or uses it by now
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// dropRemains removes what transfers that failed left for a retry.
func (s *Service) dropRemains() error {
	if err := s.blobs.DropUnfinished(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.store.Update(func(tx *state.Tx) error { return s.leases.Expire(tx, time.Unix(1<<40, 0)) })
	if err != nil {
		return err
	}
	return s.sweep()
}

// DiskUsage is what all images take on the disk: layers, blobs, and what transfers
// have left for a retry.
func (s *Service) DiskUsage() (sum int64, err error) {
	err = s.store.View(func(tx *state.Tx) error {
		sum, err = s.usage(tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	unfinished, err := s.blobs.Unfinished()
	return sum + unfinished, err
}

func (s *Service) usage(tx *state.Tx) (int64, error) {
	u, err := s.inUse(tx)
	if err != nil {
		return 0, err
	}
	var sum int64
	for id := range u.layers {
		info, err := s.layers.Stat(id)
		if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Unavailable) {
			continue // on its way, or a damaged image, which must not break a sum
		}
		if err != nil {
			return 0, err
		}
		sum += max(info.Disk, info.Size)
	}
	for d := range u.blobs {
		if size, err := s.blobs.Stat(d); err == nil {
			sum += size
		}
	}
	return sum, nil
}
