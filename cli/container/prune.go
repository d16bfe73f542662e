package container

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/prune"
)

// NewPrune makes `container prune`.
func NewPrune(a *app.App) *cobra.Command {
	var o prune.Options
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove all stopped containers",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ok, err := o.Confirmed(cmd.Context(), a, " all stopped containers."); err != nil || !ok {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.ContainerPrune(cmd.Context(), client.ContainerPruneOptions{Filters: o.Filters()})
			if err != nil {
				return err
			}
			o.List(a, "Containers", got.Report.ContainersDeleted)
			o.Space(a, got.Report.SpaceReclaimed)
			return nil
		},
	}, "container prune")
	o.Register(cmd.Flags(), prune.Terms, "")
	return cmd
}
