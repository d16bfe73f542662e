package image

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

type pushOptions struct {
	all, quiet bool
	platform   string
}

// NewPush makes `push`.
func NewPush(a *app.App) *cobra.Command {
	var o pushOptions
	var trust app.Trust
	cmd := named(&cobra.Command{
		Use:               "push [OPTIONS] NAME[:TAG]",
		Short:             "Upload an image to a registry",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.FirstImage(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := trust.Check(); err != nil {
				return err
			}
			return push(cmd.Context(), a, &o, args[0])
		},
	}, "image push, push")
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all-tags", "a", false, "Upload all tags of the repository")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Show only the name of the image")
	fs.StringVar(&o.platform, "platform", "", "Platform that the image must be for (OS/ARCH[/VARIANT])")
	trust.Register(fs)
	return cmd
}

func push(ctx context.Context, a *app.App, o *pushOptions, name string) error {
	ref := client.ParseReference(name)
	switch {
	case o.all && !ref.NameOnly():
		return fmt.Errorf("tag can't be used with --all-tags/-a")
	case !o.all && ref.NameOnly():
		ref = ref.WithDefaultTag()
		if !o.quiet {
			a.Println("Using default tag: latest")
		}
	}
	platform, err := value.Platform(o.platform)
	if err != nil {
		return err
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	header, err := credentials(ctx, a, name)
	if err != nil {
		return err
	}
	r, err := conn.ImagePush(ctx, name, client.ImagePushOptions{All: o.all, RegistryAuth: header, Platform: platform})
	if err != nil {
		return err
	}
	defer r.Close()
	out := a.Out
	if o.quiet {
		out = terminal.NewOut(io.Discard)
	}
	if err := progress(out, r); err != nil {
		return err
	}
	if o.quiet {
		a.Println(ref.String())
	}
	return nil
}
