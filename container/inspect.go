package container

import (
	"context"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/show"
)

// Inspect describes a container in full. It takes no container's lock.
func (s *Service) Inspect(ctx context.Context, ref string, size bool) (*container.InspectResponse, error) {
	e, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	r := e.shown()
	out := show.Inspect(r, show.Paths{Files: s.dataDir(s.networkOwner(r)), Log: s.logPath(r.ID)}, s.execs.Running(e.id))
	if size {
		rw, err := s.Snapshots.Usage(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		all := r.BaseSize + rw
		out.SizeRw, out.SizeRootFs = &rw, &all
	}
	return out, nil
}
