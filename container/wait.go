package container

import (
	"context"

	"github.com/sampan-containers/sampan/container/index"
)

// The conditions of Wait.
const (
	WaitNotRunning = index.WaitNotRunning
	WaitNextExit   = index.WaitNextExit
	WaitRemoved    = index.WaitRemoved
	WaitFirstExit  = index.WaitFirstExit
)

// WaitResult is how a waited-for container ended.
type WaitResult = index.WaitResult

// Wait registers a waiter and returns a channel that yields one result, at once
// if the condition holds already. An empty condition is WaitNotRunning. When ctx
// ends the waiter is dropped and the channel yields nothing.
func (s *Service) Wait(ctx context.Context, ref, condition string) (<-chan WaitResult, error) {
	switch condition {
	case "":
		condition = WaitNotRunning
	case WaitNotRunning, WaitNextExit, WaitRemoved, WaitFirstExit:
	default:
		return nil, invalid("invalid condition: %q", condition)
	}
	e, err := s.containers.Find(ref)
	if err != nil {
		if code, ok := s.containers.Departed(ref); ok {
			result := make(chan WaitResult, 1)
			result <- WaitResult{StatusCode: int64(code)}
			return result, nil
		}
		return nil, err
	}
	result, waiting := e.Await(ctx, condition)
	if waiting && condition != WaitNotRunning {
		s.expectStart(e)
	}
	return result, nil
}
