package container

import (
	"context"
	"slices"

	"github.com/moby/moby/api/types/container"
)

type waiter struct {
	condition string
	result    chan WaitResult
}

// Wait registers a waiter and returns a channel that yields one result, at once
// if the condition holds already. An empty condition is WaitNotRunning. When ctx
// ends the waiter is dropped and the channel yields nothing.
func (s *Service) Wait(ctx context.Context, ref, condition string) (<-chan WaitResult, error) {
	switch condition {
	case "":
		condition = WaitNotRunning
	case WaitNotRunning, WaitNextExit, WaitRemoved:
	default:
		return nil, invalid("invalid condition: %q", condition)
	}
	e, err := s.find(ref)
	if err != nil {
		if code, ok := s.departed.find(ref); ok {
			result := make(chan WaitResult, 1)
			result <- WaitResult{StatusCode: int64(code)}
			return result, nil
		}
		return nil, err
	}
	w := &waiter{condition, make(chan WaitResult, 1)}
	e.mu.Lock()
	// The end of a run publishes the record first and notifies under this lock
	// afterwards, so that no waiter falls in between.
	st := e.record().State
	alive := st.Running() || st.Status == container.StateRestarting
	if e.removed || condition == WaitNotRunning && !alive {
		w.result <- WaitResult{StatusCode: int64(st.ExitCode)}
		e.mu.Unlock()
		return w.result, nil
	}
	e.waiters = append(e.waiters, w)
	e.mu.Unlock()
	if condition == WaitNextExit || condition == WaitRemoved {
		s.expectStart(e)
	}
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.waiters = slices.DeleteFunc(e.waiters, func(o *waiter) bool { return o == w })
	})
	return w.result, nil
}

// notify gives the result to those who wait for one of the conditions.
func (e *entry) notify(result WaitResult, conditions ...string) {
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
