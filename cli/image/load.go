package image

import (
	"errors"
	"io"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

func parsePlatforms(texts []string) ([]ocispec.Platform, error) {
	var out []ocispec.Platform
	for _, v := range texts {
		p, err := value.Platform(v)
		if err != nil {
			return nil, err
		}
		out = append(out, *p)
	}
	return out, nil
}

// NewLoad makes `load`.
func NewLoad(a *app.App) *cobra.Command {
	var input string
	var quiet bool
	var platforms []string
	cmd := named(&cobra.Command{
		Use:               "load [OPTIONS]",
		Short:             "Load images from an archive that save wrote, or an OCI layout",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			want, err := parsePlatforms(platforms)
			if err != nil {
				return err
			}
			var from io.Reader = a.In
			if input != "" {
				f, err := os.Open(input)
				if err != nil {
					return err
				}
				defer f.Close()
				from = f
			} else if a.In.IsTerminal() {
				return errors.New("requested load from stdin, but stdin is empty")
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			// A pipe cannot be sent twice, so the API version must be right.
			if err := conn.Settle(cmd.Context()); err != nil {
				return err
			}
			options := []client.ImageLoadOption{client.ImageLoadWithQuiet(quiet || !a.Out.IsTerminal())}
			if len(want) > 0 {
				options = append(options, client.ImageLoadWithPlatforms(want...))
			}
			// Hides the file from the HTTP client, which would otherwise close it.
			r, err := conn.ImageLoad(cmd.Context(), io.MultiReader(from), options...)
			if err != nil {
				return err
			}
			defer r.Close()
			return progress(a.Out, r)
		},
	}, "image load, load")
	fs := cmd.Flags()
	fs.StringVarP(&input, "input", "i", "", "Read from a file instead of standard input")
	fs.BoolVarP(&quiet, "quiet", "q", false, "Show no progress")
	fs.StringSliceVar(&platforms, "platform", nil, "Load only these platforms (OS/ARCH[/VARIANT])")
	return cmd
}
