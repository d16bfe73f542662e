package image

import (
	"strconv"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewPrune makes `image prune`.
func NewPrune(a *app.App) *cobra.Command {
	var force, all, dry bool
	var filters value.Filters
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove images that nothing uses",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force && !dry {
				what := "all dangling images"
				if all {
					what = "all images without at least one container associated to them"
				}
				ok, err := a.Confirm(cmd.Context(), "WARNING! This will remove "+what+".\nAre you sure you want to continue?")
				if err != nil || !ok {
					return err
				}
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			if filters.Values == nil {
				filters.Values = client.Filters{}
			}
			filters.Values.Add("dangling", strconv.FormatBool(!all))
			if dry {
				filters.Values.Add("dry-run", "true")
			}
			got, err := conn.ImagePrune(cmd.Context(), client.ImagePruneOptions{Filters: filters.Values})
			if err != nil {
				return err
			}
			if len(got.Report.ImagesDeleted) > 0 {
				title := "Deleted Images:"
				if dry {
					title = "Images that would be deleted:"
				}
				a.Println(title)
				for _, item := range got.Report.ImagesDeleted {
					if item.Untagged != "" {
						a.Println("untagged: " + item.Untagged)
					} else {
						a.Println("deleted: " + item.Deleted)
					}
				}
				a.Println("")
			}
			what := "Total reclaimed space: "
			if dry {
				what = "Space that would be reclaimed: "
			}
			a.Println(what + units.HumanSize(float64(got.Report.SpaceReclaimed)))
			return nil
		},
	}, "image prune")
	fs := cmd.Flags()
	fs.BoolVarP(&all, "all", "a", false, "Remove all images without a container, not only those without a name")
	fs.Var(&filters, "filter", "Remove only what matches (until=TIME, label=NAME[=VALUE])")
	fs.BoolVar(&dry, "dry-run", false, "Show what would be removed, and remove nothing")
	fs.BoolVarP(&force, "force", "f", false, "Do not ask for confirmation")
	return cmd
}
