// Package background holds the work that goes on between requests (a run being
// followed, a health check, a restart that waits) and ends it with the daemon.
package background

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sampan-containers/sampan/fault"
)

// Work is all of it. Its end has two steps: from Close on nothing new is begun by
// a policy, and End tells what still waits to give up.
type Work struct {
	group  sync.WaitGroup
	closed atomic.Bool
	ending context.Context
	end    context.CancelFunc
}

// New returns work that nothing has joined yet.
func New() *Work {
	w := &Work{}
	w.ending, w.end = context.WithCancel(context.Background())
	return w
}

// Go runs a function that Wait waits for.
func (w *Work) Go(f func()) { w.group.Go(f) }

// Ending is done when the daemon ends.
func (w *Work) Ending() context.Context { return w.ending }

// Closing tells that no policy may begin anything any more.
func (w *Work) Closing() bool { return w.closed.Load() }

// Close makes Closing true.
func (w *Work) Close() { w.closed.Store(true) }

// End makes Ending done.
func (w *Work) End() { w.end() }

// Wait returns when all work has ended, or with fault.Deadline when ctx did first.
func (w *Work) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		w.group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Deadline, "containers are still being cleaned up: %w", context.Cause(ctx))
	}
}
