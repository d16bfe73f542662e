package container

import (
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
)

// The buckets of the state store. A name maps to an id.
const (
	bucket      = "containers"
	namesBucket = "names"
)

// The types of a container's data, by the names this package uses for them.
type (
	Record = record.Record
	State  = record.State
	Mount  = mounts.Mount
)

// move is one change of a container's record on its way: begun, saved, published.
// The caller holds the container's lock from begin to publish.
type move struct {
	e    *entry
	next *Record
}

// begin checks the table and prepares the changed copy.
func (e *entry) begin(to container.ContainerState, f func(*Record)) (*move, error) {
	now := e.record()
	if !record.Allowed(now.State.Status, to) {
		return nil, fault.New(fault.Conflict, "container %s is %s and cannot become %s", now.ID, now.State.Status, to)
	}
	next := now.Clone()
	next.State.Status = to
	if f != nil {
		f(next)
	}
	return &move{e, next}, nil
}

// publish makes the copy what everybody reads.
func (m *move) publish() { m.e.cur.Store(m.next) }

// change moves a container to a state: the one way, but for a start, which
// saves while the shim launches. Without durable the store is left as it is,
// for what a restarted daemon can find out by itself.
func (s *Service) change(e *entry, to container.ContainerState, durable bool, f func(*Record)) error {
	m, err := e.begin(to, f)
	if err != nil {
		return err
	}
	if durable {
		if err := s.save(m.next); err != nil {
			return err
		}
	}
	m.publish()
	return nil
}
