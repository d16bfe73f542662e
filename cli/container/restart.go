package container

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewRestart makes `restart`.
func NewRestart(a *app.App) *cobra.Command {
	var o stopFlags
	cmd := named(&cobra.Command{
		Use:               "restart [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop and start one or more containers",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			timeout, err := o.wait()
			if err != nil {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error {
				_, err := conn.ContainerRestart(cmd.Context(), name, client.ContainerRestartOptions{Signal: o.signal, Timeout: timeout})
				return err
			})
		},
	}, "container restart, restart")
	o.register(cmd.Flags())
	return cmd
}
