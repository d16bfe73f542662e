package image

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// NewInspect makes `image inspect`.
func NewInspect(a *app.App) *cobra.Command {
	var format, platform string
	cmd := named(&cobra.Command{
		Use:               "inspect [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Show everything about one or more images",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Images(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Inspect(format, args, func(name string) (any, []byte, error) {
				return Inspect(cmd.Context(), a, name, platform)
			})
		},
	}, "image inspect")
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	cmd.Flags().StringVar(&platform, "platform", "", "Platform, if the image has several (OS/ARCH[/VARIANT])")
	return cmd
}

// Inspect fetches one image.
func Inspect(ctx context.Context, a *app.App, name, platform string) (any, []byte, error) {
	p, err := value.Platform(platform)
	if err != nil {
		return nil, nil, err
	}
	conn, err := a.Connect()
	if err != nil {
		return nil, nil, err
	}
	var raw bytes.Buffer
	opts := []client.ImageInspectOption{client.ImageInspectWithRawResponse(&raw)}
	if p != nil {
		opts = append(opts, client.ImageInspectWithPlatform(p))
	}
	got, err := conn.ImageInspect(ctx, name, opts...)
	return got.InspectResponse, raw.Bytes(), err
}
