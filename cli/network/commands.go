// Package network holds the verbs on networks. One verb is one file.
package network

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

// Commands are the verbs of `network`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{NewConnect(a), NewCreate(a), NewDisconnect(a), NewInspect(a), NewLs(a), NewPrune(a), NewRm(a)}
}

func named(cmd *cobra.Command, names string) *cobra.Command {
	cmd.Annotations = map[string]string{app.AliasesKey: names}
	return cmd
}
