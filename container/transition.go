package container

import (
	"slices"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

// transitions is the whole life of a container: from a state (row) to the
// states that may follow. A start that fails leaves the state as it was, with an
// exit code and a reason, hence the loops of created and exited. Removal is
// allowed from every state without processes.
var transitions = map[container.ContainerState][]container.ContainerState{
	container.StateCreated:    {container.StateCreated, container.StateRunning, container.StateRemoving},
	container.StateRunning:    {container.StateRunning, container.StatePaused, container.StateRestarting, container.StateExited},
	container.StatePaused:     {container.StatePaused, container.StateRunning, container.StateRestarting, container.StateExited},
	container.StateRestarting: {container.StateRestarting, container.StateRunning, container.StateExited, container.StateRemoving},
	container.StateExited:     {container.StateExited, container.StateRunning, container.StateRestarting, container.StateRemoving},
	container.StateRemoving:   {container.StateRemoving, container.StateDead},
	container.StateDead:       {container.StateDead, container.StateRemoving},
}

func allowed(from, to container.ContainerState) bool { return slices.Contains(transitions[from], to) }

// move is one change of a container's record on its way: begun, saved, published.
// The caller holds the container's lock from begin to publish.
type move struct {
	e    *entry
	next *Record
}

// begin checks the table and prepares the changed copy.
func (e *entry) begin(to container.ContainerState, f func(*Record)) (*move, error) {
	now := e.record()
	if !allowed(now.State.Status, to) {
		return nil, fault.New(fault.Conflict, "container %s is %s and cannot become %s", now.ID, now.State.Status, to)
	}
	next := now.clone()
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
