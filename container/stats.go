package container

import (
	"context"
	"errors"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/usage"
	"github.com/sampan-containers/sampan/fault"
)

const (
	// statsEvery is the pace of a stream of samples, Docker's.
	statsEvery = time.Second
	// statsPair is the time between the two samples of a single answer. Both
	// clocks count nanoseconds, so that this is enough for a share of a processor.
	statsPair = 150 * time.Millisecond
)

// StatsOptions says how many samples are wanted.
type StatsOptions struct {
	Stream  bool // one a second, until the caller goes away or the container
	OneShot bool // a single sample, without the one before
}

// Stats emits what a container uses. A single answer holds the sample before for
// the rates. A container that does not run gives one empty sample, or in a stream
// one each second, since it may be started again.
func (s *Service) Stats(ctx context.Context, ref string, o StatsOptions, emit func(*container.StatsResponse) error) error {
	if o.Stream && o.OneShot {
		return invalid("cannot have stream=true and one-shot=true")
	}
	e, err := s.find(ref)
	if err != nil {
		return err
	}
	last, err := s.sample(e, nil)
	if err != nil {
		return err
	}
	if o.Stream || o.OneShot || last.Read.IsZero() {
		if err := emit(last); err != nil || !o.Stream {
			return err
		}
	}
	wait := statsEvery
	if !o.Stream {
		wait = statsPair
	}
	tick := time.NewTicker(wait)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ending.Done():
			return nil
		case <-tick.C:
		}
		if e.isRemoved() {
			return nil
		}
		next, err := s.sample(e, last)
		if err != nil {
			return err
		}
		if err := emit(next); err != nil || !o.Stream {
			return err
		}
		last = next
	}
}

// sample reads the counters of a running container. It takes no lock.
func (s *Service) sample(e *entry, last *container.StatsResponse) (*container.StatsResponse, error) {
	rec := e.record()
	empty := &container.StatsResponse{ID: rec.ID, Name: "/" + rec.Name}
	if !rec.State.Running() {
		return empty, nil
	}
	source := usage.Source{NetPid: rec.State.Pid}
	if rec.HostConfig.NetworkMode.IsHost() {
		source.NetPid = 0
	}
	var err error
	var out *container.StatsResponse
	if source.Groups, err = s.Groups.Paths(s.cgroupPath(rec)); err == nil {
		out, err = usage.Read(source)
	}
	if errors.Is(err, fault.NotFound) {
		return empty, nil // it has just ended
	}
	if err != nil {
		return nil, err
	}
	out.ID, out.Name = empty.ID, empty.Name
	if last != nil {
		out.PreCPUStats, out.PreRead = last.CPUStats, last.Read
	}
	return out, nil
}
