package terminal

import (
	"errors"
	"fmt"
	"io"

	"github.com/moby/term"
)

// DefaultDetachKeys is Docker's sequence.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// CheckDetachKeys says what is wrong with a sequence such as "ctrl-x,x".
func CheckDetachKeys(keys string) error {
	if keys == "" {
		return nil
	}
	if _, err := term.ToBytes(keys); err != nil {
		return fmt.Errorf("invalid detach keys %q: %w (use single characters or ctrl-<key>, separated by commas)", keys, err)
	}
	return nil
}

// Detachable returns a reader that ends with a detach error (see Detached)
// once the keys were typed. An unusable sequence falls back to the default, as
// Docker does for one from the configuration file.
func Detachable(r io.Reader, keys string) io.Reader {
	seq, err := term.ToBytes(keys)
	if err != nil || keys == "" {
		seq, _ = term.ToBytes(DefaultDetachKeys)
	}
	return term.NewEscapeProxy(r, seq)
}

// Detached tells whether err came from the user typing the detach keys.
func Detached(err error) bool {
	var escape term.EscapeError
	return errors.As(err, &escape)
}
