package usage

import (
	"context"
	"errors"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/background"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/fault"
)

const (
	// statsEvery is the pace of a stream of samples, Docker's.
	statsEvery = time.Second
	// statsPair is the time between the two samples of a single answer. Both
	// clocks count nanoseconds, so that this is enough for a share of a processor.
	statsPair = 150 * time.Millisecond
)

// Groups finds control groups. One that is not there is fault.NotFound.
type Groups interface {
	// Paths returns the group's directory for each controller; "" is cgroup v2.
	Paths(path string) (map[string]string, error)
}

// Dependencies are what a Meter stands on.
type Dependencies struct {
	Containers *index.Index
	Groups     Groups
	Paths      *layout.Paths
	Work       *background.Work
}

// Meter samples the containers of one index.
type Meter struct {
	d     Dependencies
	turns chan struct{}
}

// atOnce is how many samples are taken side by side: each sleeping read of a
// control group keeps a thread, and hundreds of them do not make it faster.
const atOnce = 4

// New returns a meter.
func New(d Dependencies) *Meter { return &Meter{d, make(chan struct{}, atOnce)} }

// StatsOptions says how many samples are wanted.
type StatsOptions struct {
	Stream  bool // one a second, until the caller goes away or the container
	OneShot bool // a single sample, without the one before
}

// Stats emits what a container uses. A single answer holds the sample before for
// the rates. A container that does not run gives one empty sample, or in a stream
// one each second, since it may be started again.
func (s *Meter) Stats(ctx context.Context, ref string, o StatsOptions, emit func(*Sample) error) error {
	if o.Stream && o.OneShot {
		return fault.New(fault.Invalid, "cannot have stream=true and one-shot=true")
	}
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return err
	}
	last, err := s.sample(e, nil, !o.Stream && !o.OneShot)
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
		case <-s.d.Work.Ending().Done():
			return nil
		case <-tick.C:
		}
		if e.IsRemoved() {
			return nil
		}
		next, err := s.sample(e, last, false)
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
func (s *Meter) sample(e *index.Entry, last *Sample, cpuOnly bool) (*Sample, error) {
	rec := e.Record()
	empty := &Sample{StatsResponse: container.StatsResponse{ID: rec.ID, Name: "/" + rec.Name}}
	if !rec.State.Running() {
		return empty, nil
	}
	source := Source{NetPid: rec.State.Pid, CPUOnly: cpuOnly}
	if rec.HostConfig.NetworkMode.IsHost() {
		source.NetPid = 0
	}
	s.turns <- struct{}{}
	defer func() { <-s.turns }()
	var err error
	var out *Sample
	if source.Groups, err = s.d.Groups.Paths(s.d.Paths.Cgroup(rec)); err == nil {
		out, err = Read(source)
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
