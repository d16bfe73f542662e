// Package fault holds Sampan's error classes. A class says what kind of failure
// an error is, so that an edge (HTTP status, exit code) can be chosen without
// reading text. The domain packages attach a class where an error is made; the
// edges test it with errors.Is. A message is one sentence for the user: what
// failed, on which object, why, and what to do.
package fault

import (
	"errors"
	"fmt"
)

// Class is a kind of failure. Classes are compared with errors.Is.
type Class struct{ name string }

// Error returns the class's name, so that a bare class is an error too.
func (c *Class) Error() string { return c.name }

// The classes. server maps each to one HTTP status.
var (
	NotFound       = &Class{"not found"}       // the named object does not exist
	Conflict       = &Class{"conflict"}        // the object's state or name forbids it
	Invalid        = &Class{"invalid"}         // the request can never succeed as it is
	NotModified    = &Class{"not modified"}    // already in the wanted state
	Unavailable    = &Class{"unavailable"}     // may succeed later without a change
	Forbidden      = &Class{"forbidden"}       // the caller may not do this
	Unauthorized   = &Class{"unauthorized"}    // the caller is not known
	NotImplemented = &Class{"not implemented"} // Sampan cannot do this yet
	Deadline       = &Class{"deadline"}        // a time-out ran out
	Exhausted      = &Class{"exhausted"}       // no address, port, space or descriptor is left
)

type classed struct {
	err   error
	class *Class
}

func (e *classed) Error() string   { return e.err.Error() }
func (e *classed) Unwrap() []error { return []error{e.err, e.class} }

// New makes an error of a class; the format may wrap with %w.
func New(class *Class, format string, args ...any) error {
	return &classed{fmt.Errorf(format, args...), class}
}

// Wrap gives err a class and keeps its text; nil stays nil.
func Wrap(class *Class, err error) error {
	if err == nil {
		return nil
	}
	return &classed{err, class}
}

// Of returns the outermost class of err, or nil if it has none.
func Of(err error) *Class {
	var c *classed
	if errors.As(err, &c) {
		return c.class
	}
	var bare *Class
	if errors.As(err, &bare) {
		return bare
	}
	return nil
}
