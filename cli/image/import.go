package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/value"
)

type importOptions struct {
	changes           value.List
	message, platform string
}

// NewImport makes `import`.
func NewImport(a *app.App) *cobra.Command {
	var o importOptions
	cmd := named(&cobra.Command{
		Use:   "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
		Short: "Make an image from a tar archive of a file system",
		Args:  app.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 2 {
				return app.RangeArgs(1, 2)(cmd, args)
			}
			ref := ""
			if len(args) > 1 {
				ref = args[1]
			}
			return importImage(cmd.Context(), a, &o, args[0], ref)
		},
	}, "image import, import")
	fs := cmd.Flags()
	fs.VarP(&o.changes, "change", "c", "Apply a Dockerfile instruction to the image")
	fs.StringVarP(&o.message, "message", "m", "", "Message for the history of the image")
	fs.StringVar(&o.platform, "platform", value.DefaultPlatform(), "Platform of the image (OS/ARCH[/VARIANT])")
	return cmd
}

func importImage(ctx context.Context, a *app.App, o *importOptions, source, ref string) error {
	platform, err := value.Platform(o.platform)
	if err != nil {
		return err
	}
	req := client.ImageImportOptions{Message: o.message, Changes: o.changes.Values}
	if platform != nil {
		req.Platform = *platform
	}
	src := client.ImageImportSource{SourceName: source}
	switch {
	case source == "-":
		src.Source = a.In
	case !strings.HasPrefix(source, "http://") && !strings.HasPrefix(source, "https://"):
		f, err := os.Open(source)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer f.Close()
		src.Source, src.SourceName = f, "-"
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	if src.Source != nil {
		// A pipe cannot be sent twice, so the API version must be right.
		if err := conn.Settle(ctx); err != nil {
			return err
		}
		// Hides the file from the HTTP client, which would otherwise close it.
		src.Source = io.MultiReader(src.Source)
	}
	r, err := conn.ImageImport(ctx, src, ref, req)
	if err != nil {
		return err
	}
	defer r.Close()
	return progress(a.Out, r)
}
