package volume

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewRename makes `volume rename`.
func NewRename(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "rename VOLUME NEW_NAME",
		Short:             "Rename a volume that no container uses",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return conn.VolumeRename(cmd.Context(), args[0], args[1])
		},
	}, "volume rename")
}
