// Package container owns containers: their records, the table of state
// transitions, the verbs on them, their execs, logs, waiters and restore after
// a restart of the daemon.
//
// A container is one record in the state store and one immutable copy of it
// behind an atomic pointer. List and Inspect read that pointer only, so that a
// verb stuck on one container never delays them. A verb takes the container's
// own lock, does its work in named steps with an undo each, and changes the
// record in one place (entry.change). What a running container is made of
// (processes, streams, log, exit code) belongs to its shim, which outlives the
// daemon; this package talks to it through the Supervisor interface.
package container

import (
	"context"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

// Service holds the containers of one data root. All methods are safe for
// concurrent use. A container is named by its name, its id, or an unambiguous
// prefix of its id.
type Service struct{}

var errSoon = fault.New(fault.NotImplemented, "this part of the container service is not wired yet")

// Create makes a container and returns its id and warnings.
func (s *Service) Create(ctx context.Context, o CreateOptions) (id string, warnings []string, err error) {
	return "", nil, errSoon
}

// Start runs a container.
func (s *Service) Start(ctx context.Context, ref string) error { return errSoon }

// Stop ends a container; fault.NotModified when it does not run.
func (s *Service) Stop(ctx context.Context, ref string, o StopOptions) error { return errSoon }

// Kill sends a signal (name or number; empty is SIGKILL).
func (s *Service) Kill(ctx context.Context, ref, signal string) error { return errSoon }

// Restart stops and starts.
func (s *Service) Restart(ctx context.Context, ref string, o StopOptions) error { return errSoon }

// Wait registers a waiter; the channel yields one result.
func (s *Service) Wait(ctx context.Context, ref, condition string) (<-chan WaitResult, error) {
	return nil, errSoon
}

// Remove deletes a container.
func (s *Service) Remove(ctx context.Context, ref string, o RemoveOptions) error { return errSoon }

// List returns summaries, newest first. It takes no container's lock.
func (s *Service) List(ctx context.Context, o ListOptions) ([]container.Summary, error) {
	return nil, errSoon
}

// Inspect takes no container's lock.
func (s *Service) Inspect(ctx context.Context, ref string, size bool) (*container.InspectResponse, error) {
	return nil, errSoon
}

// TTY tells whether the container has a terminal (its log is not multiplexed then).
func (s *Service) TTY(ref string) (bool, error) { return false, errSoon }

// Logs emits log entries; stream is "stdout" or "stderr".
func (s *Service) Logs(ctx context.Context, ref string, o LogsOptions, emit func(stream string, data []byte) error) error {
	return errSoon
}

// Attach hands the client's connection to the container's shim, now or at its
// next start, and returns when it did.
func (s *Service) Attach(ctx context.Context, ref string, o AttachOptions) error { return errSoon }

// Resize sets the terminal's size.
func (s *Service) Resize(ctx context.Context, ref string, height, width uint32) error {
	return errSoon
}

// ExecCreate prepares a command in a running container.
func (s *Service) ExecCreate(ctx context.Context, ref string, r *container.ExecCreateRequest) (id string, err error) {
	return "", errSoon
}

// ExecStart runs a prepared exec. Without Detach it hijacks the connection,
// hands it to the shim and returns.
func (s *Service) ExecStart(ctx context.Context, execID string, o ExecStartOptions) error {
	return errSoon
}

// ExecResize sets the size of an exec's terminal.
func (s *Service) ExecResize(ctx context.Context, execID string, height, width uint32) error {
	return errSoon
}

// ExecInspect describes an exec.
func (s *Service) ExecInspect(ctx context.Context, execID string) (*container.ExecInspectResponse, error) {
	return nil, errSoon
}

// Counts returns how many containers there are, by state.
func (s *Service) Counts() (total, running, paused, stopped int) { return 0, 0, 0, 0 }
