package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
)

// NewPause makes `pause`.
func NewPause(a *app.App) *cobra.Command {
	return named(each(a, "pause CONTAINER [CONTAINER...]", "Pause all processes within one or more containers", complete.Running,
		func(ctx context.Context, conn *connect.Conn, name string) error {
			_, err := conn.ContainerPause(ctx, name, client.ContainerPauseOptions{})
			return err
		}), "container pause, pause")
}

// NewUnpause makes `unpause`.
func NewUnpause(a *app.App) *cobra.Command {
	return named(each(a, "unpause CONTAINER [CONTAINER...]", "Unpause all processes within one or more containers", complete.Paused,
		func(ctx context.Context, conn *connect.Conn, name string) error {
			_, err := conn.ContainerUnpause(ctx, name, client.ContainerUnpauseOptions{})
			return err
		}), "container unpause, unpause")
}

// each makes a verb without flags that is done to every container named.
func each(a *app.App, use, short string, which complete.Which, do func(ctx context.Context, conn *connect.Conn, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, which),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error { return do(cmd.Context(), conn, name) })
		},
	}
}
