package processes

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/fault"
)

// Groups finds the processes of control groups.
type Groups interface {
	// Procs lists the processes, as the host numbers them.
	Procs(path string) ([]int, error)
}

// Dependencies are what a Lister stands on.
type Dependencies struct {
	Containers *index.Index
	Groups     Groups
	Paths      *layout.Paths
	Events     notice.Publisher
}

// Lister lists the processes of the containers of one index.
type Lister struct{ d Dependencies }

// New returns a lister.
func New(d Dependencies) *Lister { return &Lister{d} }

// Top lists the processes of a running container with ps's options; empty is -ef.
func (s *Lister) Top(ctx context.Context, ref, options string) (*container.TopResponse, error) {
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return nil, err
	}
	if e.Record().State.Status == container.StateRestarting {
		return nil, fault.New(fault.Conflict, "container %s is restarting, wait until the container is running", e.ID)
	}
	if _, err := e.Live(); err != nil {
		return nil, err
	}
	pids, err := s.d.Groups.Procs(s.d.Paths.Cgroup(e.Record()))
	if err != nil {
		return nil, fmt.Errorf("list the processes of container %s: %w", e.ID, err)
	}
	out := &container.TopResponse{Titles: Titles()}
	if options = strings.TrimSpace(options); options == "" || options == DefaultOptions {
		out.Processes, err = List(ctx, pids)
	} else {
		out.Titles, out.Processes, err = ps(ctx, options, pids)
	}
	if err != nil {
		return nil, err
	}
	s.d.Events.Publish(notice.Container(e.Record(), events.ActionTop, nil))
	return out, nil
}
