package network

import (
	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewRm makes `network rm`.
func NewRm(a *app.App) *cobra.Command {
	var force bool
	cmd := named(&cobra.Command{
		Use:               "rm [OPTIONS] NETWORK [NETWORK...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more networks",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Networks(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error {
				_, err := conn.NetworkRemove(cmd.Context(), name, client.NetworkRemoveOptions{})
				if force && errdefs.IsNotFound(err) {
					return nil
				}
				return err
			})
		},
	}, "network rm, network remove")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "A network that does not exist is no error")
	return cmd
}
