package container

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewCommit makes `commit`.
func NewCommit(a *app.App) *cobra.Command {
	var o client.ContainerCommitOptions
	var changes value.List
	pause := true
	cmd := named(&cobra.Command{
		Use:               "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short:             "Make an image of a container's changes",
		Args:              app.RangeArgs(1, 2),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				o.Reference = args[1]
			}
			o.Changes = changes.Values
			o.NoPause = o.NoPause || !pause
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.ContainerCommit(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			a.Println(got.ID)
			return nil
		},
	}, "container commit, commit")
	fs := cmd.Flags()
	fs.StringVarP(&o.Author, "author", "a", "", `Author of the image, such as "Ann Lee <ann@example.com>"`)
	fs.VarP(&changes, "change", "c", "Apply a Dockerfile instruction to the image")
	fs.StringVarP(&o.Comment, "message", "m", "", "Message for the history of the image")
	fs.BoolVar(&o.NoPause, "no-pause", false, "Do not pause the container meanwhile")
	fs.BoolVar(&pause, "pause", true, "Pause the container meanwhile")
	// Registered just above, so the call cannot fail.
	_ = fs.MarkDeprecated("pause", "use --no-pause instead")
	return cmd
}
