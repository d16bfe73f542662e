package container

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewExport makes `export`.
func NewExport(a *app.App) *cobra.Command {
	var output string
	cmd := named(&cobra.Command{
		Use:               "export [OPTIONS] CONTAINER",
		Short:             "Write a container's file system as a tar archive",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" && a.Out.IsTerminal() {
				return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			r, err := conn.ContainerExport(cmd.Context(), args[0], client.ContainerExportOptions{})
			if err != nil {
				return err
			}
			defer r.Close()
			return a.WriteTo(output, r)
		},
	}, "container export, export")
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file instead of standard output")
	return cmd
}
