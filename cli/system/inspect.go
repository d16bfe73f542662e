package system

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/container"
	"github.com/sampan-containers/sampan/cli/image"
	"github.com/sampan-containers/sampan/cli/network"
)

// NewInspect makes `inspect`.
func NewInspect(a *app.App) *cobra.Command {
	var format, kind string
	var size bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short:             "Show everything about objects of any kind",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("type") && kind == "" {
				return errors.New(`type is empty: must be one of "container", "image", "network", "volume"`)
			}
			f := finder{a, kind, size}
			return a.Inspect(format, args, func(name string) (any, []byte, error) {
				return f.find(cmd.Context(), name)
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&format, "format", "f", "", app.FormatHelp)
	fs.BoolVarP(&size, "size", "s", false, "Show the sizes of containers' files")
	fs.StringVar(&kind, "type", "", "Kind of the objects: container, image, network or volume")
	if err := cmd.RegisterFlagCompletionFunc("type", complete.Words("container", "image", "network", "volume")); err != nil {
		panic(err) // the flag was registered above
	}
	return cmd
}

// finder looks for a name among the kinds of objects, in Docker's order.
type finder struct {
	app  *app.App
	kind string
	size bool
}

type lookup struct {
	kind  string
	fetch func(ctx context.Context, name string) (any, []byte, error)
}

func (f finder) lookups() []lookup {
	return []lookup{
		{"container", func(ctx context.Context, name string) (any, []byte, error) {
			return container.Inspect(ctx, f.app, name, f.size)
		}},
		{"image", func(ctx context.Context, name string) (any, []byte, error) {
			return image.Inspect(ctx, f.app, name, "")
		}},
		{"network", func(ctx context.Context, name string) (any, []byte, error) {
			return network.Inspect(ctx, f.app, name, false)
		}},
		{"volume", f.volume},
	}
}

func (f finder) find(ctx context.Context, name string) (any, []byte, error) {
	switch f.kind {
	case "", "container", "image", "network", "volume":
	case "node", "service", "task", "plugin", "secret", "config":
		return nil, nil, app.Refuse("type="+f.kind, "there are no such objects without clusters and plugins")
	default:
		return nil, nil, fmt.Errorf(`unknown type: %q: must be one of "container", "image", "network", "volume"`, f.kind)
	}
	for _, l := range f.lookups() {
		if f.kind != "" && f.kind != l.kind {
			continue
		}
		value, raw, err := l.fetch(ctx, name)
		if f.kind == "" && err != nil && (errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) || errdefs.IsNotImplemented(err)) {
			// Not of this kind: the name may be of the next, or not even be
			// valid for this one.
			continue
		}
		return value, raw, err
	}
	return nil, nil, app.NoSuchObject(name)
}

func (f finder) volume(ctx context.Context, name string) (any, []byte, error) {
	conn, err := f.app.Connect()
	if err != nil {
		return nil, nil, err
	}
	got, err := conn.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
	return got.Volume, got.Raw, err
}
