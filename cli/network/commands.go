// Package network holds the verbs on networks. One verb is one file.
package network

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

// Commands are the verbs of `network`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{NewInspect(a), NewLs(a)}
}
