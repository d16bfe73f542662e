package app

import (
	"errors"
	"fmt"
)

// Exit codes of the client itself; a container's own code passes unchanged.
const (
	ExitFailure       = 1
	ExitEngine        = 125 // the daemon refused, or the command line was wrong
	ExitNotExecutable = 126 // the command was found but cannot run
	ExitNotFound      = 127 // the command was not found
)

// StatusError ends the program with Code. Err may be nil: then nothing is
// printed, which is right for a container's own exit code.
type StatusError struct {
	Code int
	Err  error
}

func (e *StatusError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

func (e *StatusError) Unwrap() error { return e.Err }

// Exit ends the program with code and no message.
func Exit(code int) error {
	if code == 0 {
		return nil
	}
	return &StatusError{Code: code}
}

// UsageError is a command line that cannot be understood. Help is the command
// whose --help explains it.
type UsageError struct {
	Err  error
	Help string
	// Code is the exit code: 125 for flags, 1 for a wrong number of arguments.
	Code int
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Batch runs one step for each name. Failures do not stop the rest: each is
// printed on its own line, and the program ends with 1.
type Batch struct{ failed bool }

// Add notes the outcome for one object and prints its error.
func (b *Batch) Add(a *App, err error) {
	if err != nil {
		b.failed = true
		a.PrintError(err)
	}
}

// Err is the result of the whole batch.
func (b *Batch) Err() error {
	if b.failed {
		return &StatusError{Code: ExitFailure}
	}
	return nil
}

// ErrUnsupported is wrapped by refusals of flags that Sampan does not have yet.
var ErrUnsupported = errors.New("not supported yet")

// Refuse is the sentence for a flag that is known but does not work yet.
func Refuse(flag, why string) error {
	return fmt.Errorf("--%s is %w: %s", flag, ErrUnsupported, why)
}
