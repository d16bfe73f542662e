package app

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// NoArgs refuses arguments.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return argsError(cmd, "accepts no arguments")
}

// ExactArgs wants exactly n arguments.
func ExactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return argsError(cmd, fmt.Sprintf("requires exactly %d %s", n, plural(n)))
	}
}

// MinArgs wants n or more arguments.
func MinArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return argsError(cmd, fmt.Sprintf("requires at least %d %s", n, plural(n)))
	}
}

// RangeArgs wants between low and high arguments.
func RangeArgs(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= low && len(args) <= high {
			return nil
		}
		return argsError(cmd, fmt.Sprintf("requires at least %d and at most %d %s", low, high, plural(high)))
	}
}

func argsError(cmd *cobra.Command, what string) error {
	return &UsageError{
		Err:  fmt.Errorf("%q %s.\nSee '%s --help'.\n\nUsage:  %s\n\n%s", cmd.CommandPath(), what, cmd.CommandPath(), UseLine(cmd), cmd.Short),
		Code: ExitFailure,
	}
}

// UseLine is a command's grammar with its full path.
func UseLine(cmd *cobra.Command) string {
	_, rest, _ := strings.Cut(cmd.Use, " ")
	return strings.TrimSpace(cmd.CommandPath() + " " + rest)
}

func plural(n int) string {
	if n == 1 {
		return "argument"
	}
	return "arguments"
}

// AliasesKey is the annotation with all full names of a command, separated by
// commas and without the program's name.
const AliasesKey = "aliases"
