package container

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/show"
)

// List returns summaries, newest first. It takes no container's lock.
func (s *Service) List(ctx context.Context, o ListOptions) ([]container.Summary, error) {
	f, err := show.Compile(o.Filters, s.created(), s.family(ctx))
	if err != nil {
		return nil, err
	}
	// As in Docker, a filter on the state or a limit means all containers; one on
	// the exit code or the order does not.
	all := o.All || o.Limit > 0 || f.ImpliesAll()
	out := []container.Summary{}
	names, linked, now := imageNames{}, links.Names(s.containers), time.Now()
	for _, e := range s.containers.All() {
		if o.Limit > 0 && len(out) == o.Limit {
			break
		}
		r := e.Shown()
		if !all && !r.State.Running() && r.State.Status != container.StateRestarting || !f.Match(r) {
			continue
		}
		out = append(out, show.Summary(r, s.shownImage(ctx, r, names), now, o.Brief))
		out[len(out)-1].Names = append(out[len(out)-1].Names, linked[r.ID]...)
		if o.Size {
			last := &out[len(out)-1]
			if last.SizeRw, err = s.Snapshots.Usage(ctx, r.ID); err != nil {
				s.log.Warn("size of a container", "container", r.ID, "error", err)
			}
			last.SizeRootFs = r.BaseSize + last.SizeRw
		}
	}
	return out, nil
}

// imageNames remembers which image a reference means during one List.
type imageNames map[string]string

// shownImage is the name the container was made from, or the id when the name
// means another image, or none, by now.
func (s *Service) shownImage(ctx context.Context, r *Record, names imageNames) string {
	ref := r.Config.Image
	id, known := names[ref]
	if !known {
		if img, err := s.Images.Get(ctx, ref); err == nil {
			id = img.ID.String()
		}
		names[ref] = id
	}
	if id != r.ImageID {
		return r.ImageID
	}
	return ref
}

// created finds the time of creation of a container that a filter names.
func (s *Service) created() func(ref string) (time.Time, error) {
	return func(ref string) (time.Time, error) {
		e, err := s.containers.Find(ref)
		if err != nil {
			return time.Time{}, err
		}
		return e.Record().Created, nil
	}
}

// family finds the image that a filter names, and those made from it.
func (s *Service) family(ctx context.Context) func(ref string) ([]digest.Digest, error) {
	return func(ref string) ([]digest.Digest, error) { return s.Images.Family(ctx, ref) }
}
