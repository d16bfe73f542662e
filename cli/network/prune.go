package network

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/prune"
)

// NewPrune makes `network prune`.
func NewPrune(a *app.App) *cobra.Command {
	var o prune.Options
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove all networks that no container uses",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ok, err := o.Confirmed(cmd.Context(), a, " all custom networks not used by at least one container."); err != nil || !ok {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.NetworkPrune(cmd.Context(), client.NetworkPruneOptions{Filters: o.Filters()})
			if err != nil {
				return err
			}
			o.List(a, "Networks", got.Report.NetworksDeleted)
			return nil
		},
	}, "network prune")
	o.Register(cmd.Flags(), prune.Terms, "")
	return cmd
}
