package image

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewTag makes `tag`.
func NewTag(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short:             "Give an image another name",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.Images(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			_, err = conn.ImageTag(cmd.Context(), client.ImageTagOptions{Source: args[0], Target: args[1]})
			return err
		},
	}, "image tag, tag")
}
