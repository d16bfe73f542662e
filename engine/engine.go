// Package engine brings the daemon's services up in order and down in reverse.
// It knows no verbs of its own: cmd/sampand chooses the services and lists them
// as steps; this package runs the list, keeps two daemons off one data root, and
// holds the small adapters between services that do not import each other.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Step is one service's way up and down. Down is called only if Up succeeded;
// either may be nil.
type Step struct {
	Name string
	Up   func(context.Context) error
	Down func(context.Context) error
}

// Engine is what has been brought up.
type Engine struct {
	log  *slog.Logger
	done []Step
}

// Start runs the steps in order. When one fails, those before it are taken down
// again, and the error names the step.
func Start(ctx context.Context, log *slog.Logger, steps []Step) (*Engine, error) {
	e := &Engine{log: log}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, e.Stop(context.WithoutCancel(ctx)))
		}
		began := time.Now()
		if s.Up != nil {
			if err := s.Up(ctx); err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", s.Name, err), e.Stop(context.WithoutCancel(ctx)))
			}
		}
		e.done = append(e.done, s)
		log.Debug("up", "step", s.Name, "took", time.Since(began).Round(time.Microsecond))
	}
	return e, nil
}

// Stop takes everything down, last first. All steps are tried.
func (e *Engine) Stop(ctx context.Context) error {
	var errs []error
	for i := len(e.done) - 1; i >= 0; i-- {
		s := e.done[i]
		if s.Down == nil {
			continue
		}
		if err := s.Down(ctx); err != nil {
			errs = append(errs, fmt.Errorf("end of %s: %w", s.Name, err))
		}
		e.log.Debug("down", "step", s.Name)
	}
	e.done = nil
	return errors.Join(errs...)
}
