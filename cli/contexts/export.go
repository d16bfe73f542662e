package contexts

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
)

// standardStream as a file name means standard input or output.
const standardStream = "-"

func newExport(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "export [OPTIONS] CONTEXT [FILE|-]",
		Short:             "Write a context, with its keys, to a tar archive",
		Args:              app.RangeArgs(1, 2),
		ValidArgsFunction: names(a),
		RunE: func(_ *cobra.Command, args []string) error {
			path := args[0] + ".dockercontext"
			if len(args) > 1 {
				path = args[1]
			}
			if path == standardStream && a.Out.IsTerminal() {
				return errors.New("cowardly refusing to export to a terminal, specify a file path")
			}
			var archive bytes.Buffer
			if err := a.Contexts().Export(&archive, args[0]); err != nil {
				return err
			}
			if path == standardStream {
				return a.WriteTo("", &archive)
			}
			if err := a.WriteTo(path, &archive); err != nil {
				return err
			}
			fmt.Fprintf(a.Err.Text(), "Written file %q\n", path)
			return nil
		},
	}, "context export")
}
