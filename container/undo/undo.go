// Package undo takes the finished steps of an operation back when a later one fails.
package undo

import "errors"

// Stack holds what takes the finished steps back. The zero value is empty.
type Stack struct{ steps []func() error }

// Push adds the undo of a step that is done.
func (s *Stack) Push(f func() error) { s.steps = append(s.steps, f) }

// Run takes the steps back, last first, and all of them whatever fails.
func (s *Stack) Run() error {
	var errs []error
	for i := len(s.steps) - 1; i >= 0; i-- {
		errs = append(errs, s.steps[i]())
	}
	s.steps = nil
	return errors.Join(errs...)
}
