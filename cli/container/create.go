package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/container/spec"
	"github.com/sampan-containers/sampan/cli/image"
	"github.com/sampan-containers/sampan/cli/value"
)

// When an image is pulled.
const (
	pullAlways  = "always"
	pullMissing = "missing"
	pullNever   = "never"
)

// createOptions are what `create` and `run` share and the API does not take.
type createOptions struct {
	name     string
	platform string
	pull     string
	quiet    bool
	cidFile  string
	pulling  func(bool) // called before and after a pull, if set
}

func (o *createOptions) register(fs *pflag.FlagSet) {
	fs.StringVar(&o.name, "name", "", "Name of the container")
	fs.StringVar(&o.platform, "platform", value.DefaultPlatform(), "Platform, if the image has several (OS/ARCH[/VARIANT])")
	fs.StringVar(&o.pull, "pull", pullMissing, `Pull the image first ("always", "missing", "never")`)
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Do not show the progress of a pull")
	fs.StringVar(&o.cidFile, "cidfile", "", "Write the container's id to a file")
}

func (o *createOptions) check() error {
	switch o.pull {
	case pullAlways, pullMissing, pullNever:
	default:
		return fmt.Errorf("invalid pull option: %q: must be one of %q, %q or %q", o.pull, pullAlways, pullMissing, pullNever)
	}
	_, err := value.Platform(o.platform)
	return err
}

// NewCreate makes `create`.
func NewCreate(a *app.App) *cobra.Command {
	var o createOptions
	var flags *spec.Flags
	cmd := named(&cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create a container without starting it",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.FirstImage(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := flags.Build(args[0], args[1:])
			if err == nil {
				err = o.check()
			}
			if err != nil {
				return &app.UsageError{Err: fmt.Errorf("%s: %w", a.Name, err), Help: cmd.CommandPath(), Code: app.ExitEngine}
			}
			printWarnings(a, req.Warnings)
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			id, err := create(cmd.Context(), a, conn, &o, req)
			if err != nil {
				return &app.StatusError{Code: app.ExitFailure, Err: err}
			}
			a.Println(id)
			return nil
		},
	}, "container create, create")
	fs := cmd.Flags()
	flags = spec.Register(fs)
	o.register(fs)
	complete.CreateFlags(a, cmd)
	return cmd
}

// create makes the container, pulling its image where that is asked for.
func create(ctx context.Context, a *app.App, conn *connect.Conn, o *createOptions, req *spec.Request) (id string, retErr error) {
	cid, err := openCIDFile(o.cidFile)
	if err != nil {
		return "", err
	}
	defer func() {
		if retErr != nil {
			cid.discard()
		}
	}()
	platform, err := value.Platform(o.platform)
	if err != nil {
		return "", err
	}
	req.Host.ContainerIDFile = o.cidFile
	var res client.ContainerCreateResult
	err = o.withImage(ctx, a, conn, req.Config.Image, func() (err error) {
		res, err = o.send(ctx, conn, req, platform)
		return err
	})
	if err != nil {
		return "", err
	}
	printWarnings(a, res.Warnings)
	return res.ID, cid.write(res.ID)
}

func printWarnings(a *app.App, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.Err.Text(), "WARNING: %s\n", w)
	}
}

// withImage calls send, and pulls the image before it, or when send fails for
// want of it and once more.
func (o *createOptions) withImage(ctx context.Context, a *app.App, conn *connect.Conn, ref string, send func() error) error {
	if o.pull == pullAlways {
		if err := o.pullImage(ctx, a, conn, ref); err != nil {
			return err
		}
	}
	err := send()
	if err == nil || o.pull != pullMissing || !missingImage(err) {
		return err
	}
	if !o.quiet {
		fmt.Fprintf(a.Err.Text(), "Unable to find image '%s' locally\n", familiar(ref))
	}
	if err := o.pullImage(ctx, a, conn, ref); err != nil {
		return err
	}
	return send()
}

func (o *createOptions) send(ctx context.Context, conn *connect.Conn, req *spec.Request, platform *ocispec.Platform) (client.ContainerCreateResult, error) {
	return conn.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: req.Config, HostConfig: req.Host, NetworkingConfig: req.Networking, Platform: platform, Name: o.name,
	})
}

func (o *createOptions) pullImage(ctx context.Context, a *app.App, conn *connect.Conn, ref string) error {
	if o.pulling != nil {
		o.pulling(true)
		defer o.pulling(false)
	}
	return image.Pull(ctx, a, conn, image.PullRequest{Ref: ref, Platform: o.platform, Quiet: o.quiet, Out: a.Err})
}

// missingImage: a 404 may also mean a network or a volume, and pulling an
// image would not help those.
func missingImage(err error) bool {
	return errdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "no such image")
}

// familiar adds the tag that is meant when none is written.
func familiar(ref string) string {
	if !strings.Contains(ref, "@") && !strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") {
		return ref + ":latest"
	}
	return ref
}

// cidFile is the file of --cidfile; it exists only if the container does.
type cidFile struct {
	f *os.File
}

func openCIDFile(path string) (*cidFile, error) {
	if path == "" {
		return &cidFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to create the container ID file: %w", err)
	}
	return &cidFile{f}, nil
}

func (c *cidFile) write(id string) error {
	if c.f == nil {
		return nil
	}
	if _, err := c.f.WriteString(id); err != nil {
		return fmt.Errorf("failed to write the container ID (%s) to file: %w", id, err)
	}
	return c.f.Close()
}

func (c *cidFile) discard() {
	if c.f != nil {
		c.f.Close()
		os.Remove(c.f.Name())
	}
}
