package record

import (
	"slices"

	"github.com/moby/moby/api/types/container"
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

// Allowed tells whether a state may follow another.
func Allowed(from, to container.ContainerState) bool { return slices.Contains(transitions[from], to) }
