package container

import (
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewPrune makes `container prune`.
func NewPrune(a *app.App) *cobra.Command {
	var force, dry bool
	var filters value.Filters
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove all stopped containers",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force && !dry {
				ok, err := a.Confirm(cmd.Context(), "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?")
				if err != nil || !ok {
					return err
				}
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			if dry {
				filters.Dry()
			}
			got, err := conn.ContainerPrune(cmd.Context(), client.ContainerPruneOptions{Filters: filters.Values})
			if err != nil {
				return err
			}
			if len(got.Report.ContainersDeleted) > 0 {
				a.Println(value.Pruned("Containers", dry))
				for _, id := range got.Report.ContainersDeleted {
					a.Println(id)
				}
				a.Println("")
			}
			a.Println(value.Reclaimed(dry) + units.HumanSize(float64(got.Report.SpaceReclaimed)))
			return nil
		},
	}, "container prune")
	fs := cmd.Flags()
	fs.Var(&filters, "filter", "Remove only what matches (until=TIME, label=NAME[=VALUE])")
	fs.BoolVar(&dry, "dry-run", false, "Show what would be removed, and remove nothing")
	fs.BoolVarP(&force, "force", "f", false, "Do not ask for confirmation")
	return cmd
}
