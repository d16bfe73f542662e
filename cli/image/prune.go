package image

import (
	"strconv"

	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/prune"
)

// NewPrune makes `image prune`.
func NewPrune(a *app.App) *cobra.Command {
	var o prune.Options
	var all bool
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove images that nothing uses",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			what := " all dangling images."
			if all {
				what = " all images without at least one container associated to them."
			}
			if ok, err := o.Confirmed(cmd.Context(), a, what); err != nil || !ok {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			filters := o.Filters()
			filters.Add("dangling", strconv.FormatBool(!all))
			got, err := conn.ImagePrune(cmd.Context(), client.ImagePruneOptions{Filters: filters})
			if err != nil {
				return err
			}
			o.List(a, "Images", Removed(got.Report.ImagesDeleted))
			o.Space(a, got.Report.SpaceReclaimed)
			return nil
		},
	}, "image prune")
	fs := cmd.Flags()
	fs.BoolVarP(&all, "all", "a", false, "Remove all images without a container, not only those without a name")
	o.Register(fs, prune.Terms, "")
	return cmd
}

// Removed is a line for each name and each image that a prune removed.
func Removed(items []image.DeleteResponse) []string {
	var lines []string
	for _, item := range items {
		if item.Untagged != "" {
			lines = append(lines, "untagged: "+item.Untagged)
		} else {
			lines = append(lines, "deleted: "+item.Deleted)
		}
	}
	return lines
}
