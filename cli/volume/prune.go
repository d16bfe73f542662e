package volume

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/prune"
)

// NewPrune makes `volume prune`.
func NewPrune(a *app.App) *cobra.Command {
	var o prune.Options
	var all bool
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove the anonymous volumes that no container uses",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			what := " anonymous local volumes not used by at least one container."
			if all {
				what = " local volumes not used by at least one container."
			}
			if ok, err := o.Confirmed(cmd.Context(), a, what); err != nil || !ok {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.VolumePrune(cmd.Context(), client.VolumePruneOptions{All: all, Filters: o.Filters()})
			if err != nil {
				return err
			}
			o.List(a, "Volumes", got.Report.VolumesDeleted)
			o.Space(a, got.Report.SpaceReclaimed)
			return nil
		},
	}, "volume prune")
	fs := cmd.Flags()
	fs.BoolVarP(&all, "all", "a", false, "Remove the named volumes too")
	o.Register(fs, "label=NAME[=VALUE]", "")
	return cmd
}
