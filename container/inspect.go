package container

import (
	"context"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/show"
)

// Inspect describes a container in full. It takes no container's lock.
func (s *Service) Inspect(ctx context.Context, ref string, size bool) (*container.InspectResponse, error) {
	e, err := s.containers.Find(ref)
	if err != nil {
		return nil, err
	}
	r := e.Shown()
	out := show.Inspect(r, show.Paths{Files: s.paths.DataDir(s.containers.NetworkOwner(r)), Log: s.paths.LogPath(r)}, s.execs.Running(e.ID))
	out.HostConfig = links.Shown(s.containers, r, out.HostConfig)
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
