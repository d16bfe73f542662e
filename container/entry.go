package container

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/handle"
)

// entry is a container in memory.
type entry struct {
	id  string
	cur atomic.Pointer[Record]
	// lock holds one token: a verb that changes the container has it. It is a
	// channel so that a caller who goes away stops waiting.
	lock chan struct{}

	mu      sync.Mutex // guards what follows, never held while waiting
	removed bool
	run     *run
	pending []handle.Attach // clients that came before the start
	waiters []*waiter
	restart *time.Timer // a restart that is waiting for its back-off
	backoff time.Duration
	health  *container.Health // newer than the record's; nil: the record's is

	guests guests // who works on the root of the current run
}

// run is one life of a container's processes.
type run struct {
	shim Shim
	// stopping tells that a user ends it, so that no policy restarts it.
	stopping atomic.Bool
	// discard tells that a removal follows: its end need not be recorded.
	discard atomic.Bool
	// keep tells that a restart follows: --rm does not remove it now.
	keep atomic.Bool
	// settled closes when the end has been recorded.
	settled chan struct{}
}

func newEntry(r *Record) *entry {
	e := &entry{id: r.ID, lock: make(chan struct{}, 1)}
	e.cur.Store(r)
	return e
}

func (e *entry) record() *Record { return e.cur.Load() }

// acquire takes the container's lock, or fails when ctx ends first or the
// container has been removed meanwhile.
func (e *entry) acquire(ctx context.Context) error {
	select {
	case e.lock <- struct{}{}:
	case <-ctx.Done():
		return fault.New(fault.Deadline, "container %s is busy with another request: %w", e.id, context.Cause(ctx))
	}
	if e.isRemoved() {
		e.release()
		return noSuchContainer(e.id)
	}
	return nil
}

func (e *entry) release() { <-e.lock }

func (e *entry) isRemoved() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.removed
}

func (e *entry) current() *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.run
}

// live returns the run of a running container, or Docker's refusal.
func (e *entry) live() (*run, error) {
	r := e.current()
	if rec := e.record(); r == nil || !rec.State.Running() {
		return nil, fault.New(fault.Conflict, "container %s is not running", e.id)
	}
	return r, nil
}

func (e *entry) takePending() []handle.Attach {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pending
	e.pending = nil
	return p
}

func closeAll(attaches []handle.Attach) {
	for _, a := range attaches {
		a.Conn.Close()
	}
}
