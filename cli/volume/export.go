package volume

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewExport makes `volume export`.
func NewExport(a *app.App) *cobra.Command {
	var output string
	cmd := named(&cobra.Command{
		Use:               "export [OPTIONS] VOLUME",
		Short:             "Write a volume's content as a tar archive",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" && a.Out.IsTerminal() {
				return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			r, err := conn.VolumeExport(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer r.Close()
			return a.WriteTo(output, r)
		},
	}, "volume export")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file instead of standard output")
	return cmd
}
