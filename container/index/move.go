package index

import (
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
)

// Move is one change of a container's record on its way: begun, saved, published.
// The caller holds the container's lock from Begin to Publish.
type Move struct {
	e *Entry
	// Next is the changed copy; nobody else has it before Publish.
	Next *record.Record
}

// Begin checks the table of transitions and prepares the changed copy. A state
// that may not follow is fault.Conflict.
func (e *Entry) Begin(to container.ContainerState, f func(*record.Record)) (*Move, error) {
	now := e.Record()
	if !record.Allowed(now.State.Status, to) {
		return nil, fault.New(fault.Conflict, "container %s is %s and cannot become %s", now.ID, now.State.Status, to)
	}
	next := now.Clone()
	next.State.Status = to
	if f != nil {
		f(next)
	}
	return &Move{e, next}, nil
}

// Publish makes the copy what everybody reads.
func (m *Move) Publish() { m.e.cur.Store(m.Next) }

// Change moves a container to a state: the one way, but for a start, which
// saves while the shim launches. Without durable the store is left as it is,
// for what a restarted daemon can find out by itself.
func (x *Index) Change(e *Entry, to container.ContainerState, durable bool, f func(*record.Record)) error {
	m, err := e.Begin(to, f)
	if err != nil {
		return err
	}
	if durable {
		if err := x.Save(m.Next); err != nil {
			return err
		}
	}
	m.Publish()
	return nil
}
