// Package image holds the verbs on images. One verb is one file.
package image

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

// Commands are the verbs of `image`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{NewHistory(a), NewImport(a), NewInspect(a), NewLoad(a), NewLs(a), NewPrune(a), NewPull(a), NewPush(a), NewRm(a), NewSave(a), NewTag(a)}
}

func named(cmd *cobra.Command, names string) *cobra.Command {
	cmd.Annotations = map[string]string{app.AliasesKey: names}
	return cmd
}
