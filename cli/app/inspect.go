package app

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"

	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/format"
)

// FormatHelp is the text of --format for lists and objects.
const FormatHelp = "Print with a Go template, 'json', or (lists) 'table [TEMPLATE]'"

// Inspect fetches and prints objects. What exists is printed even if something
// else does not; the errors follow, and the program then ends with 1.
func (a *App) Inspect(tmpl string, names []string, fetch func(name string) (value any, raw []byte, err error)) error {
	in, err := format.NewInspector(a.Out.Text(), tmpl)
	if err != nil {
		return &UsageError{Err: err, Code: 64}
	}
	var failed []error
	for _, name := range names {
		value, raw, err := fetch(name)
		if err == nil {
			err = in.Add(value, raw)
		}
		if err != nil {
			failed = append(failed, err)
			var gone *connect.NoDaemonError
			if errors.As(err, &gone) {
				return err
			}
		}
	}
	if err := in.Close(); err != nil {
		return err
	}
	var batch Batch
	for _, err := range failed {
		batch.Add(a, err)
	}
	return batch.Err()
}

// NoSuchObject is the error of `inspect` for a name that nothing has.
func NoSuchObject(name string) error {
	return fmt.Errorf("Error: No such object: %s%w", name, noText{errdefs.ErrNotFound})
}

// noText keeps an error's class without its words.
type noText struct{ error }

func (noText) Error() string   { return "" }
func (n noText) Unwrap() error { return n.error }
