package container

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/processes"
	"github.com/sampan-containers/sampan/fault"
)

// Top lists the processes of a running container with ps's options; empty is -ef.
func (s *Service) Top(ctx context.Context, ref, options string) (*container.TopResponse, error) {
	e, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	if e.record().State.Status == container.StateRestarting {
		return nil, fault.New(fault.Conflict, "container %s is restarting, wait until the container is running", e.id)
	}
	if _, err := e.live(); err != nil {
		return nil, err
	}
	pids, err := s.Groups.Procs(s.cgroupPath(e.record()))
	if err != nil {
		return nil, fmt.Errorf("list the processes of container %s: %w", e.id, err)
	}
	out := &container.TopResponse{Titles: processes.Titles()}
	if options = strings.TrimSpace(options); options == "" || options == processes.DefaultOptions {
		out.Processes, err = processes.List(ctx, pids)
	} else {
		out.Titles, out.Processes, err = processes.PS(ctx, options, pids)
	}
	if err != nil {
		return nil, err
	}
	s.event(e.record(), events.ActionTop, nil)
	return out, nil
}
