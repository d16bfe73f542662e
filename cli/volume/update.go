package volume

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewUpdate makes `volume update`, whose only flag is of cluster volumes.
func NewUpdate(a *app.App) *cobra.Command {
	var availability string
	cmd := named(&cobra.Command{
		Use:               "update [OPTIONS] VOLUME",
		Short:             "Change a cluster volume (needs a swarm)",
		Args:              app.ExactArgs(1),
		Hidden:            true,
		ValidArgsFunction: complete.None,
		RunE: func(*cobra.Command, []string) error {
			return app.Refuse("availability", "cluster volumes need a swarm; a local volume has nothing that can be changed")
		},
	}, "volume update")
	cmd.Flags().StringVar(&availability, "availability", "active", "Cluster volume availability (active, pause, drain)")
	return cmd
}
