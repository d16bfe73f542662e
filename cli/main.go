// Package cli is the `sampan` command: Docker's grammar over the Engine API.
//
// Main builds the command tree (root.go), runs it and turns its error into
// text and an exit code. The verbs live in one package per noun; commands that
// Sampan does not have yet are listed in missing.go and refused by name.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

// The names under which the program may be called.
const (
	ownName    = "sampan"
	dockerName = "docker"
)

// Main runs the command line and returns the exit code. It is the whole
// program except for the call of os.Exit.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	a := app.New(calledAs(args), in, out, errw)
	defer a.Term.OnPanic()
	defer a.Term.Restore()
	if len(args) > 1 {
		a.Completing = args[1] == cobra.ShellCompRequestCmd || args[1] == cobra.ShellCompNoDescRequestCmd
	}
	args = args[min(1, len(args)):]
	a.Args = args
	root := NewRoot(a, args)
	root.SetArgs(args)
	return exitCode(a, root.ExecuteContext(context.Background()))
}

// calledAs: a link named docker makes the program speak of itself as docker,
// so that its hints can be typed.
func calledAs(args []string) string {
	if len(args) > 0 && filepath.Base(args[0]) == dockerName {
		return dockerName
	}
	return ownName
}

// exitCode prints the error, if it has a text, and picks the code.
func exitCode(a *app.App, err error) int {
	a.Term.Restore()
	if err == nil {
		return 0
	}
	var usage *app.UsageError
	if errors.As(err, &usage) {
		a.PrintError(usage.Err)
		if usage.Help != "" {
			fmt.Fprintf(a.Err.Text(), "See '%s --help'.\n", usage.Help)
		}
		return usage.Code
	}
	var status *app.StatusError
	if errors.As(err, &status) {
		if status.Err != nil {
			a.PrintError(status.Err)
		}
		return status.Code
	}
	a.PrintError(err)
	return app.ExitFailure
}
