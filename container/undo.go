package container

import "errors"

// undoStack holds what takes finished steps back, last first.
type undoStack struct{ steps []func() error }

func (u *undoStack) push(f func() error) { u.steps = append(u.steps, f) }

func (u *undoStack) run() error {
	var errs []error
	for i := len(u.steps) - 1; i >= 0; i-- {
		errs = append(errs, u.steps[i]())
	}
	u.steps = nil
	return errors.Join(errs...)
}
