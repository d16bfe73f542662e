package volume

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewClone makes `volume clone`.
func NewClone(a *app.App) *cobra.Command {
	var labels value.List
	cmd := named(&cobra.Command{
		Use:               "clone [OPTIONS] VOLUME NEW_VOLUME",
		Short:             "Make a volume with the content of another one",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.VolumeClone(cmd.Context(), args[0], client.VolumeCreateOptions{Name: args[1], Labels: value.KeyValues(labels.Values)})
			if err != nil {
				return err
			}
			a.Println(got.Volume.Name)
			return nil
		},
	}, "volume clone")
	cmd.Flags().Var(&labels, "label", "Label of the new volume (NAME[=VALUE])")
	return cmd
}
