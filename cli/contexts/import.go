package contexts

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

func newImport(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:   "import CONTEXT FILE|-",
		Short: "Make a context of a tar archive that export wrote",
		Args:  app.ExactArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault // a file
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := fresh(a, args[0]); err != nil {
				return err
			}
			var in io.Reader = a.In
			if args[1] != standardStream {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			if err := a.Contexts().Import(in, args[0]); err != nil {
				return err
			}
			done(a, args[0], "Successfully imported context %q")
			return nil
		},
	}, "context import")
}
