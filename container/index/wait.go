package index

import (
	"context"
	"slices"

	"github.com/moby/moby/api/types/container"
)

// The conditions of a wait.
const (
	WaitNotRunning = "not-running"
	WaitNextExit   = "next-exit"
	WaitRemoved    = "removed"
	// WaitFirstExit is Sampan's own: the next exit of a container that has not
	// run yet, and the last one of a container that has.
	WaitFirstExit = "first-exit"
)

// WaitResult is how a waited-for container ended.
type WaitResult struct {
	StatusCode int64
	Error      string
}

type waiter struct {
	condition string
	result    chan WaitResult
}

// Await registers a waiter until ctx ends and returns a channel that yields one
// result. Where the condition holds already it does so at once, and waiting is false.
func (e *Entry) Await(ctx context.Context, condition string) (result <-chan WaitResult, waiting bool) {
	w := &waiter{condition, make(chan WaitResult, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	// The end of a run publishes the record first and notifies under this lock
	// afterwards, so that no waiter falls in between.
	st := e.Record().State
	if condition == WaitFirstExit {
		w.condition = WaitNextExit
		if !st.StartedAt.IsZero() {
			w.condition = WaitNotRunning
		}
	}
	alive := st.Running() || st.Status == container.StateRestarting
	if e.removed || w.condition == WaitNotRunning && !alive {
		w.result <- WaitResult{StatusCode: int64(st.ExitCode)}
		return w.result, false
	}
	e.waiters = append(e.waiters, w)
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.waiters = slices.DeleteFunc(e.waiters, func(o *waiter) bool { return o == w })
	})
	return w.result, true
}

// Notify gives the result to those who wait for one of the conditions.
func (e *Entry) Notify(result WaitResult, conditions ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiters = slices.DeleteFunc(e.waiters, func(w *waiter) bool {
		if !slices.Contains(conditions, w.condition) {
			return false
		}
		w.result <- result
		return true
	})
}
