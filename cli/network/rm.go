package network

import (
	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewRm makes `network rm`.
func NewRm(a *app.App) *cobra.Command {
	var force bool
	cmd := named(&cobra.Command{
		Use:               "rm [OPTIONS] NETWORK [NETWORK...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more networks",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Networks(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error {
				_, err := conn.NetworkRemove(cmd.Context(), name, client.NetworkRemoveOptions{})
				if force && errdefs.IsNotFound(err) {
					return nil
				}
				return err
			})
		},
	}, "network rm, network remove")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "A network that does not exist is no error")
	return cmd
}

// NewPrune makes `network prune`.
func NewPrune(a *app.App) *cobra.Command {
	var force, dry bool
	var filters value.Filters
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove all networks that no container uses",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force && !dry {
				ok, err := a.Confirm(cmd.Context(), "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?")
				if err != nil || !ok {
					return err
				}
			}
			if dry {
				if filters.Values == nil {
					filters.Values = client.Filters{}
				}
				filters.Values.Add("dry-run", "true")
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.NetworkPrune(cmd.Context(), client.NetworkPruneOptions{Filters: filters.Values})
			if err != nil || len(got.Report.NetworksDeleted) == 0 {
				return err
			}
			if dry {
				a.Println("Would delete Networks:")
			} else {
				a.Println("Deleted Networks:")
			}
			for _, name := range got.Report.NetworksDeleted {
				a.Println(name)
			}
			a.Println("")
			return nil
		},
	}, "network prune")
	fs := cmd.Flags()
	fs.Var(&filters, "filter", "Remove only what matches (until=TIME, label=NAME[=VALUE])")
	fs.BoolVarP(&force, "force", "f", false, "Do not ask for confirmation")
	fs.BoolVar(&dry, "dry-run", false, "Show what would be removed, and remove nothing")
	return cmd
}
