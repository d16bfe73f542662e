package image

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

// PullRequest says what to pull and where its progress goes.
type PullRequest struct {
	Ref      string
	Platform string
	All      bool // every tag of the repository
	Quiet    bool
	Out      *terminal.Out
}

// NewPull makes `pull`.
func NewPull(a *app.App) *cobra.Command {
	var p PullRequest
	var trust app.Trust
	cmd := named(&cobra.Command{
		Use:               "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short:             "Download an image from a registry",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.FirstImage(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := trust.Check(); err != nil {
				return err
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			p.Ref, p.Out = args[0], a.Out
			return pullVerb(cmd.Context(), a, conn, p)
		},
	}, "image pull, pull")
	fs := cmd.Flags()
	fs.BoolVarP(&p.All, "all-tags", "a", false, "Download all tags of the repository")
	fs.StringVar(&p.Platform, "platform", value.DefaultPlatform(), "Platform, if the image has several (OS/ARCH[/VARIANT])")
	fs.BoolVarP(&p.Quiet, "quiet", "q", false, "Show only the name of the image")
	trust.Register(fs)
	return cmd
}

func pullVerb(ctx context.Context, a *app.App, conn *connect.Conn, p PullRequest) error {
	ref := client.ParseReference(p.Ref)
	if p.All && !ref.NameOnly() {
		return fmt.Errorf("tag can't be used with --all-tags/-a")
	}
	if !p.All && ref.NameOnly() {
		ref = ref.WithDefaultTag()
		if !p.Quiet {
			a.Println("Using default tag: latest")
		}
	}
	if err := Pull(ctx, a, conn, p); err != nil {
		return err
	}
	a.Println(ref.String())
	return nil
}

// Pull asks the daemon to download an image and shows its progress.
func Pull(ctx context.Context, a *app.App, conn *connect.Conn, p PullRequest) error {
	platform, err := value.Platform(p.Platform)
	if err != nil {
		return err
	}
	header, err := credentials(ctx, a, p.Ref)
	if err != nil {
		return err
	}
	req := client.ImagePullOptions{All: p.All, RegistryAuth: header}
	if platform != nil {
		req.Platforms = append(req.Platforms, *platform)
	}
	r, err := conn.ImagePull(ctx, p.Ref, req)
	if err != nil {
		return err
	}
	defer r.Close()
	out := p.Out
	if p.Quiet {
		out = terminal.NewOut(io.Discard)
	}
	return progress(out, r)
}
