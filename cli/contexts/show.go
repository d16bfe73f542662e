package contexts

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

func newShow(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "show",
		Short:             "Print the name of the context in use",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(*cobra.Command, []string) error {
			a.Println(a.ContextName())
			return nil
		},
	}, "context show")
}
