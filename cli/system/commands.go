// Package system holds the verbs about the engine as a whole: version, info,
// events, and inspect, which finds objects of any kind.
package system

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

// Commands are the verbs of `system`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{NewCheck(a), NewDf(a), NewDialStdio(a), NewEvents(a), NewInfo(a), NewPrune(a), NewStop(a)}
}

func named(cmd *cobra.Command, names string) *cobra.Command {
	cmd.Annotations = map[string]string{app.AliasesKey: names}
	return cmd
}
