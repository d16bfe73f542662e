package image

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewSave makes `save`.
func NewSave(a *app.App) *cobra.Command {
	var output string
	var platforms []string
	cmd := named(&cobra.Command{
		Use:               "save [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Write images to an archive, which is a Docker archive and an OCI layout",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Images(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" && a.Out.IsTerminal() {
				return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
			}
			want, err := parsePlatforms(platforms)
			if err != nil {
				return err
			}
			var options []client.ImageSaveOption
			if len(want) > 0 {
				options = append(options, client.ImageSaveWithPlatforms(want...))
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			r, err := conn.ImageSave(cmd.Context(), args, options...)
			if err != nil {
				return err
			}
			defer r.Close()
			return a.WriteTo(output, r)
		},
	}, "image save, save")
	fs := cmd.Flags()
	fs.StringVarP(&output, "output", "o", "", "Write to a file instead of standard output")
	fs.StringSliceVar(&platforms, "platform", nil, "Save only these platforms (OS/ARCH[/VARIANT])")
	return cmd
}
