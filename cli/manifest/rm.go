package manifest

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

func newRm(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "rm MANIFEST_LIST [MANIFEST_LIST...]",
		Short:             "Forget indexes under construction",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.None,
		RunE: func(_ *cobra.Command, args []string) error {
			var batch app.Batch
			for _, name := range args {
				batch.Add(a, remove(a, name))
			}
			return batch.Err()
		},
	}
}
