package volume

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewImport makes `volume import`.
func NewImport(a *app.App) *cobra.Command {
	var labels value.List
	cmd := named(&cobra.Command{
		Use:               "import [OPTIONS] FILE|- NEW_VOLUME",
		Short:             "Make a volume of a tar archive",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			var content io.Reader = a.In
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("import a volume: %w", err)
				}
				defer f.Close()
				content = f
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			// A pipe cannot be sent twice, so the API version must be right.
			if err := conn.Settle(cmd.Context()); err != nil {
				return err
			}
			got, err := conn.VolumeImport(cmd.Context(), io.MultiReader(content), client.VolumeCreateOptions{Name: args[1], Labels: value.KeyValues(labels.Values)})
			if err != nil {
				return err
			}
			a.Println(got.Volume.Name)
			return nil
		},
	}, "volume import")
	cmd.Flags().Var(&labels, "label", "Label of the new volume (NAME[=VALUE])")
	return cmd
}
