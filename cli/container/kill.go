package container

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/container/targets"
)

// NewKill makes `kill`.
func NewKill(a *app.App) *cobra.Command {
	var signal string
	var which targets.Targets
	cmd := named(&cobra.Command{
		Use:               "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Kill one or more running containers",
		Args:              which.Args,
		ValidArgsFunction: complete.Containers(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			if args, err = which.Names(cmd.Context(), conn, args, true); err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error {
				_, err := conn.ContainerKill(cmd.Context(), name, client.ContainerKillOptions{Signal: signal})
				return err
			})
		},
	}, "container kill, kill")
	which.Register(cmd.Flags(), "Every running container")
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send (default KILL)")
	return cmd
}
