package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewInspect makes `container inspect`.
func NewInspect(a *app.App) *cobra.Command {
	var format string
	var size bool
	cmd := named(&cobra.Command{
		Use:               "inspect [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Show everything about one or more containers",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Inspect(format, args, func(name string) (any, []byte, error) {
				return Inspect(cmd.Context(), a, name, size)
			})
		},
	}, "container inspect")
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Show the sizes of the container's files")
	return cmd
}

// Inspect fetches one container.
func Inspect(ctx context.Context, a *app.App, name string, size bool) (any, []byte, error) {
	conn, err := a.Connect()
	if err != nil {
		return nil, nil, err
	}
	got, err := conn.ContainerInspect(ctx, name, client.ContainerInspectOptions{Size: size})
	return got.Container, got.Raw, err
}
