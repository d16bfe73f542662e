package index

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/stream"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/handle"
)

// MaxPending bounds the clients that wait for a container's start.
const MaxPending = 64

// Entry is a container in memory.
type Entry struct {
	ID  string
	cur atomic.Pointer[record.Record]
	// lock holds one token: a verb that changes the container has it. It is a
	// channel so that a caller who goes away stops waiting.
	lock chan struct{}

	// arriving is read-locked while a client has been told that it is attached and
	// is not yet among those that wait for the start.
	arriving sync.RWMutex

	mu      sync.Mutex // guards what follows, never held while waiting
	removed bool
	run     *Run
	pending []handle.Attach // clients that came before the start
	waiters []*waiter
	restart *time.Timer // a restart that is waiting for its back-off
	backoff time.Duration
	health  *container.Health // newer than the record's; nil: the record's is

	// Images is the checkpoint that the start under way is made from; who holds the lock
	// may use it.
	Images string

	// Starting tells that a start is under way.
	Starting atomic.Bool

	// Guests are who works on the root of the current run.
	Guests Guests
}

func newEntry(r *record.Record) *Entry {
	e := &Entry{ID: r.ID, lock: make(chan struct{}, 1)}
	e.cur.Store(r)
	return e
}

// Record is what is known of the container now; it never changes.
func (e *Entry) Record() *record.Record { return e.cur.Load() }

// Acquire takes the container's lock, or fails when ctx ends first
// (fault.Deadline) or the container has been removed meanwhile (fault.NotFound).
func (e *Entry) Acquire(ctx context.Context) error {
	select {
	case e.lock <- struct{}{}:
	case <-ctx.Done():
		return fault.New(fault.Deadline, "container %s is busy with another request: %w", e.ID, context.Cause(ctx))
	}
	if e.IsRemoved() {
		e.Release()
		return noSuchContainer(e.ID)
	}
	return nil
}

// Release gives the lock back.
func (e *Entry) Release() { <-e.lock }

// IsRemoved tells whether the container is found no more.
func (e *Entry) IsRemoved() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.removed
}

// Run is the current life; nil if there is none.
func (e *Entry) Run() *Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.run
}

// SetRun begins a life, or with nil ends it. The lock is held.
func (e *Entry) SetRun(r *Run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.run = r
}

// Live returns the run of a running container, or Docker's refusal.
func (e *Entry) Live() (*Run, error) {
	r := e.Run()
	if rec := e.Record(); r == nil || !rec.State.Running() {
		return nil, fault.New(fault.Conflict, "container %s is not running", e.ID)
	}
	return r, nil
}

// Arrive must be called before a client is told that it is attached, and the
// function that it returns after Offer: the client's next request may be the start,
// which waits in between, so that no output passes the client by.
func (e *Entry) Arrive() (arrived func()) {
	e.arriving.RLock()
	return sync.OnceFunc(e.arriving.RUnlock)
}

// Offer returns the run that a client can be given to, or keeps the client for
// the start and calls kept. A client that it refuses with fault.Exhausted is closed.
func (e *Entry) Offer(a handle.Attach, kept func()) (*Run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run != nil {
		return e.run, nil
	}
	if len(e.pending) >= MaxPending {
		e.pending = slices.DeleteFunc(e.pending, func(p handle.Attach) bool {
			gone := stream.HungUp(p.Conn)
			if gone {
				p.Conn.Close()
			}
			return gone
		})
	}
	if e.removed || len(e.pending) >= MaxPending {
		a.Conn.Close()
		return nil, fault.New(fault.Exhausted, "container %s: %d clients are waiting for its start already", e.ID, MaxPending)
	}
	e.pending = append(e.pending, a)
	kept()
	return nil, nil
}

// TakePending returns the clients that wait for the start, once. It waits for
// those that are just arriving.
func (e *Entry) TakePending() []handle.Attach {
	e.arriving.Lock()
	defer e.arriving.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.pending
	e.pending = nil
	return p
}

// ClosePending sends away the clients that wait for the start.
func (e *Entry) ClosePending() {
	for _, a := range e.TakePending() {
		a.Conn.Close()
	}
}

// RestartLater calls f after the back-off of a container that ran so long. The
// lock is held.
func (e *Entry) RestartLater(ran time.Duration, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.backoff = record.NextBackoff(e.backoff, ran)
	e.restart = time.AfterFunc(e.backoff, f)
}

// StopTimer gives up a restart that is waiting. The lock is held.
func (e *Entry) StopTimer() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.restart != nil {
		e.restart.Stop()
		e.restart = nil
	}
	e.backoff = 0
}
