// Package bootorder starts what restart policies want running when a daemon comes up,
// each container after those that its label names.
package bootorder

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/background"
	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
)

// Label is the label of a create request that names, separated by commas, the
// containers that a new daemon starts before this one. With ":healthy" behind a name
// it waits for that one's health check too. An image's label means nothing.
const Label = "sampan.after"

const (
	afterHealthy = ":healthy"
	maxAfter     = 64
	// healthyWait bounds the wait for another container's health; then the
	// container starts all the same: late is better than never.
	healthyWait = 2 * time.Minute
	healthyPoll = 100 * time.Millisecond
)

// Parse reads the label.
func Parse(labels map[string]string) ([]string, error) {
	text := labels[Label]
	if text == "" {
		return nil, nil
	}
	names := strings.Split(text, ",")
	if len(names) > maxAfter {
		return nil, fault.New(fault.Invalid, "label %s names %d containers, more than the limit of %d", Label, len(names), maxAfter)
	}
	for i, n := range names {
		n = strings.TrimSpace(n)
		if err := request.CheckName(strings.TrimSuffix(n, afterHealthy)); err != nil {
			return nil, fault.New(fault.Invalid, "label %s=%q: want names of containers, separated by commas, each with %s behind it or not: %v", Label, text, afterHealthy, err)
		}
		names[i] = n
	}
	return names, nil
}

// Order starts containers. Start is called for each, at its turn.
type Order struct {
	Containers *index.Index
	Work       *background.Work
	Log        *slog.Logger
	Start      func(*index.Entry)
}

// Begin starts in the background what a restart policy wants running.
func (o *Order) Begin(all []*index.Entry) {
	boot := &boot{Order: o, starts: map[*index.Entry]chan struct{}{}}
	for _, e := range all {
		if !e.IsRemoved() && Wanted(e.Record()) {
			boot.starts[e] = make(chan struct{})
		}
	}
	order := map[*index.Entry][]dependency{}
	for e := range boot.starts {
		order[e] = boot.before(e)
	}
	for e := range boot.starts {
		if boot.inCircle(e, order) {
			o.Log.Warn("containers wait for each other by their labels: this one does not wait", "label", Label, "container", e.ID, "name", e.Record().Name)
			order[e] = nil
		}
	}
	for e, started := range boot.starts {
		o.Work.Go(func() {
			defer close(started)
			for _, d := range order[e] {
				if !boot.wait(d) {
					return
				}
			}
			o.Start(e)
		})
	}
}

// Wanted tells whether a container that does not run should.
func Wanted(r *record.Record) bool {
	switch r.State.Status {
	case container.StateExited:
		return r.RestartsAtBoot()
	case container.StateRestarting:
		return true
	}
	return false
}

// dependency is a container that comes before another.
type dependency struct {
	e       *index.Entry
	healthy bool
}

// boot is the start of what should run.
type boot struct {
	*Order
	starts map[*index.Entry]chan struct{} // closed when the start is over, well or not
}

// before finds the containers that a label names; one that is not there is no
// reason to stay down.
func (b *boot) before(e *index.Entry) []dependency {
	var list []dependency
	for _, name := range e.Record().After {
		name, healthy := strings.CutSuffix(name, afterHealthy)
		other, err := b.Containers.Find(name)
		if err != nil {
			b.Log.Warn("a container to start first does not exist", "label", Label, "container", e.ID, "first", name)
			continue
		}
		list = append(list, dependency{other, healthy})
	}
	return list
}

// inCircle tells whether a container waits for itself.
func (b *boot) inCircle(e *index.Entry, order map[*index.Entry][]dependency) bool {
	seen := map[*index.Entry]bool{}
	var reaches func(from *index.Entry) bool
	reaches = func(from *index.Entry) bool {
		return slices.ContainsFunc(order[from], func(d dependency) bool {
			if d.e == e {
				return true
			}
			if seen[d.e] {
				return false
			}
			seen[d.e] = true
			return reaches(d.e)
		})
	}
	return reaches(e)
}

// wait returns when another container has been started; false: the daemon ends.
func (b *boot) wait(d dependency) bool {
	ending := b.Work.Ending().Done()
	if started, ok := b.starts[d.e]; ok {
		select {
		case <-started:
		case <-ending:
			return false
		}
	}
	if !d.healthy || health.Command(d.e.Record().Config) == nil {
		return true
	}
	limit := time.NewTimer(healthyWait)
	defer limit.Stop()
	for d.e.Run() != nil && d.e.Health().Status != container.Healthy {
		select {
		case <-time.After(healthyPoll):
		case <-limit.C:
			b.Log.Warn("a container to start first does not become healthy", "label", Label, "first", d.e.ID)
			return true
		case <-ending:
			return false
		}
	}
	return true
}
