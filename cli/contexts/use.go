package contexts

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

func newUse(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "use CONTEXT",
		Short:             "Use a context from now on",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: names(a),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] != contextstore.Default {
				if _, err := a.Contexts().Get(args[0]); err != nil {
					return err
				}
			}
			if err := setCurrent(a, args[0]); err != nil {
				return err
			}
			done(a, args[0], "Current context is now %q")
			if name := app.HostVariable(); name != "" && args[0] != contextstore.Default {
				fmt.Fprintln(a.Err.Text(), overridden(name))
			}
			return nil
		},
	}, "context use")
}
