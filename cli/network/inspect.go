package network

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewInspect makes `network inspect`.
func NewInspect(a *app.App) *cobra.Command {
	var format string
	var verbose bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] NETWORK [NETWORK...]",
		Short:             "Show everything about one or more networks",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Networks(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Inspect(format, args, func(name string) (any, []byte, error) {
				return Inspect(cmd.Context(), a, name, verbose)
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show what the other nodes of a cluster know too")
	return cmd
}

// Inspect fetches one network.
func Inspect(ctx context.Context, a *app.App, name string, verbose bool) (any, []byte, error) {
	conn, err := a.Connect()
	if err != nil {
		return nil, nil, err
	}
	got, err := conn.NetworkInspect(ctx, name, client.NetworkInspectOptions{Verbose: verbose})
	return got.Network, got.Raw, err
}
