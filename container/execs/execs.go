// Package execs keeps the execs of containers, commands run beside the first
// process: prepared, running, and for a while after their end, and has the verbs
// on them. The processes belong to the containers' shims; what is here is lost with
// the daemon, as in Docker.
package execs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/handle"
)

const (
	// kept is how long an exec that has ended can still be inspected.
	kept = 5 * time.Minute
	// startWait bounds the wait for a process that is being started.
	startWait = 10 * time.Second
	// maxPerContainer bounds what one container's execs take in memory.
	maxPerContainer = 10_000
)

// Shim is what a supervisor knows of execs.
type Shim interface {
	Exec(context.Context, handle.ExecRequest) (pid int, err error)
	ExecState(ctx context.Context, execID string) (handle.ExecState, error)
	ExecWait(ctx context.Context, execID string) (handle.ExecState, error)
	ExecResize(ctx context.Context, execID string, height, width uint32) error
}

// Exec is one exec. The exported fields never change.
type Exec struct {
	ID        string
	Container string
	Request   *container.ExecCreateRequest
	Keys      []byte // that detach a client
	Shim      Shim

	mu      sync.Mutex
	started bool
	ready   chan struct{} // made by the first who waits; closed when it runs or has ended
	pid     int
	ended   bool
	code    int
	at      time.Time // of the end
}

// Claim lets an exec be started once.
func (x *Exec) Claim() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended:
		return fault.New(fault.Conflict, "exec command %s has already run", x.ID)
	case x.started:
		return fault.New(fault.Conflict, "exec command %s is already running", x.ID)
	}
	x.started = true
	return nil
}

// Began records the process.
func (x *Exec) Began(pid int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ended {
		x.pid = pid
	}
	x.wake()
}

func (x *Exec) wake() {
	if x.ready != nil {
		close(x.ready)
		x.ready = nil
	}
}

// AwaitStart waits until the process runs, and fails if it never does. A client
// resizes the terminal as soon as its connection is taken over, which is before.
func (x *Exec) AwaitStart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	x.mu.Lock()
	if x.pid == 0 && !x.ended {
		if x.ready == nil {
			x.ready = make(chan struct{})
		}
		ready := x.ready
		x.mu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
			return fault.New(fault.Deadline, "exec %s has not started: %w", x.ID, context.Cause(ctx))
		}
		x.mu.Lock()
	}
	defer x.mu.Unlock()
	if x.ended {
		return fault.New(fault.Conflict, "exec %s is not running", x.ID)
	}
	return nil
}

// End records an exit code unless there is one already.
func (x *Exec) End(code int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ended {
		x.ended, x.code, x.at = true, code, time.Now()
	}
	x.wake()
}

func (x *Exec) expired() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ended && time.Since(x.at) > kept
}

// Status asks the shim, which knows of an exec's end before its stream ends.
func (x *Exec) Status(ctx context.Context) handle.ExecState {
	x.mu.Lock()
	if x.started && x.pid == 0 && !x.ended {
		// A short command's stream may end before the answer to its start is here.
		x.mu.Unlock()
		_ = x.AwaitStart(ctx) // an exec that never ran has an exit code as well
		x.mu.Lock()
	}
	st := handle.ExecState{Running: x.started && x.pid != 0 && !x.ended, Pid: x.pid, ExitCode: x.code}
	x.mu.Unlock()
	if !st.Running {
		return st
	}
	now, err := x.Shim.ExecState(ctx, x.ID)
	if err == nil {
		now.Pid = st.Pid // also after its end, as in Docker
		return now
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ended {
		return st
	}
	return handle.ExecState{Pid: x.pid, ExitCode: x.code}
}

// Inspect describes the exec for the API.
func (x *Exec) Inspect(ctx context.Context) *container.ExecInspectResponse {
	st := x.Status(ctx)
	x.mu.Lock()
	started := x.started
	x.mu.Unlock()
	r := x.Request
	out := &container.ExecInspectResponse{
		ID: x.ID, Running: st.Running, ContainerID: x.Container, Pid: st.Pid,
		OpenStdin: r.AttachStdin, OpenStdout: r.AttachStdout, OpenStderr: r.AttachStderr,
		DetachKeys: []byte{},
		ProcessConfig: &container.ExecProcessConfig{
			Tty: r.Tty, Entrypoint: r.Cmd[0], Arguments: r.Cmd[1:], Privileged: &r.Privileged, User: r.User,
		},
	}
	if r.DetachKeys != "" {
		out.DetachKeys = x.Keys
	}
	if started && !st.Running {
		out.ExitCode = &st.ExitCode
	}
	return out
}

// Registry finds execs by id. The zero value is ready.
type Registry struct {
	mu   sync.Mutex
	byID map[string]*Exec
	of   map[string]map[string]*Exec // by container
}

// Add makes an exec findable and forgets old ones of its container.
func (r *Registry) Add(x *Exec) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID, r.of = map[string]*Exec{}, map[string]map[string]*Exec{}
	}
	siblings := r.of[x.Container]
	if siblings == nil {
		siblings = map[string]*Exec{}
		r.of[x.Container] = siblings
	}
	for id, old := range siblings {
		if old.expired() {
			delete(siblings, id)
			delete(r.byID, id)
		}
	}
	if len(siblings) >= maxPerContainer {
		return fault.New(fault.Exhausted, "container %s has %d execs already", x.Container, maxPerContainer)
	}
	siblings[x.ID], r.byID[x.ID] = x, x
	return nil
}

// Find returns an exec, or fault.NotFound.
func (r *Registry) Find(id string) (*Exec, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x, ok := r.byID[id]; ok {
		return x, nil
	}
	return nil, fault.New(fault.NotFound, "No such exec instance: %s", id)
}

// Running lists the execs of a container that run.
func (r *Registry) Running(containerID string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for id, x := range r.of[containerID] {
		x.mu.Lock()
		if x.started && !x.ended {
			ids = append(ids, id)
		}
		x.mu.Unlock()
	}
	slices.Sort(ids)
	return ids
}

// Over ends the execs of a container's run with code, where they have none yet.
func (r *Registry) Over(containerID string, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.of[containerID] {
		x.End(code)
	}
}

// Forget drops the execs of a container that is removed.
func (r *Registry) Forget(containerID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.of[containerID] {
		delete(r.byID, id)
	}
	delete(r.of, containerID)
}
