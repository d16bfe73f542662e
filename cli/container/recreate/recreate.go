// Package recreate holds `recreate`: a container is replaced by one with the same
// settings, of a newer or another image, or with other variables, labels and mounts. Its
// volumes, anonymous ones too, go over to the new one; what it wrote elsewhere does not.
//
// The old container is kept under another name until the new one runs, and put back if
// anything fails.
package recreate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/value"
)

type options struct {
	image        string
	sameImage    bool // also where the name means another by now
	env, volumes value.List
	labels       value.List
	change
}

// change is what differs in the new container.
type change struct {
	set        []string          // variables, NAME=VALUE
	labelled   map[string]string //
	binds      []string
	dropEnv    []string
	dropLabels []string
	dropMounts []string // by destination
}

// New makes `recreate`.
func New(a *app.App) *cobra.Command {
	o := options{env: value.NewList(value.CheckEnv)}
	cmd := &cobra.Command{
		Use:   "recreate [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Replace containers by ones with the same settings and a new image",
		Long: `Replace containers by ones with the same settings.

The image is what its name means now, or --image. Variables, labels and mounts are changed
by the other options. What the old image set and the user did not is taken from the new
image. Volumes go over to the new container; other files that were changed are lost.`,
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.All),
		Annotations:       map[string]string{app.AliasesKey: "container recreate, recreate"},
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			if err := o.complete(); err != nil {
				return err
			}
			var batch app.Batch
			for _, name := range args { // one after the other: each may share namespaces with the last
				err := replace(cmd.Context(), conn, name, &o)
				batch.Add(a, err)
				if err == nil {
					a.Println(name)
				}
			}
			return batch.Err()
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.image, "image", "", "Another image")
	o.register(fs)
	return cmd
}

// Changes are the options of other commands that lead here: update.
type Changes struct{ options }

// Register adds the flags that change variables, labels and mounts.
func (c *Changes) Register(fs *pflag.FlagSet) {
	c.env = value.NewList(value.CheckEnv)
	c.register(fs)
}

// Given tells whether any was used.
func (c *Changes) Given() bool {
	return len(c.env.Values)+len(c.labels.Values)+len(c.volumes.Values)+len(c.dropEnv)+len(c.dropLabels)+len(c.dropMounts) > 0
}

// Apply replaces a container by one with the changes and the very same image.
func (c *Changes) Apply(ctx context.Context, conn *connect.Conn, name string) error {
	if err := c.complete(); err != nil {
		return err
	}
	o := c.options
	o.sameImage = true
	return replace(ctx, conn, name, &o)
}

// complete reads the values of the flags.
func (o *options) complete() (err error) {
	if o.set, err = value.Env(nil, o.env.Values); err != nil {
		return err
	}
	if o.labelled, err = value.Labels(nil, o.labels.Values); err != nil {
		return err
	}
	for _, v := range o.volumes.Values {
		if !strings.Contains(v, ":") {
			return fmt.Errorf("--volume %s: want SOURCE:DESTINATION[:OPTIONS]", v)
		}
	}
	o.binds = o.volumes.Values
	return nil
}

func (o *options) register(fs *pflag.FlagSet) {
	fs.VarP(&o.env, "env", "e", "Set an environment variable (NAME[=VALUE])")
	fs.StringArrayVar(&o.dropEnv, "env-rm", nil, "Leave out an environment variable")
	fs.VarP(&o.labels, "label", "l", "Set a label (NAME[=VALUE])")
	fs.StringArrayVar(&o.dropLabels, "label-rm", nil, "Leave out a label")
	fs.VarP(&o.volumes, "volume", "v", "Mount a volume or a directory, in place of what is at its path")
	fs.StringArrayVar(&o.dropMounts, "volume-rm", nil, "Leave out the mount at a path of the container")
}

// replace does one container.
func replace(ctx context.Context, conn *connect.Conn, name string, o *options) (err error) {
	got, err := conn.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	old := &got.Container
	create, err := plan(ctx, conn, old, o)
	if err != nil {
		return err
	}
	// Nothing is touched while the new image may be missing.
	if _, err := conn.ImageInspect(ctx, create.Config.Image); err != nil {
		return err
	}
	runs := old.State != nil && (old.State.Running || old.State.Restarting)
	aside := create.Name + "-replaced-" + old.ID[:12]
	if _, err := conn.ContainerRename(ctx, old.ID, client.ContainerRenameOptions{NewName: aside}); err != nil {
		return err
	}
	made := ""
	defer func() {
		if err != nil {
			err = errors.Join(err, restore(context.WithoutCancel(ctx), conn, old.ID, create.Name, made, runs))
		}
	}()
	if runs {
		if _, err := conn.ContainerStop(ctx, old.ID, client.ContainerStopOptions{}); err != nil {
			return err
		}
	}
	res, err := conn.ContainerCreate(ctx, *create)
	if err != nil {
		return err
	}
	made = res.ID
	if runs {
		if _, err := conn.ContainerStart(ctx, made, client.ContainerStartOptions{}); err != nil {
			return fmt.Errorf("start the new container: %w", err)
		}
	}
	// Without its volumes: the new one has them.
	if _, err := conn.ContainerRemove(ctx, old.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		made = "" // the new one runs: leave it
		return fmt.Errorf("container %s is replaced, but the old one stays as %s: %w", create.Name, aside, err)
	}
	return nil
}

// restore puts the old container back after a failure.
func restore(ctx context.Context, conn *connect.Conn, id, name, made string, runs bool) error {
	var errs []error
	if made != "" {
		_, err := conn.ContainerRemove(ctx, made, client.ContainerRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	_, err := conn.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name})
	errs = append(errs, err)
	if runs {
		_, err := conn.ContainerStart(ctx, id, client.ContainerStartOptions{})
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("put container %s back: %w", name, err)
	}
	return nil
}

// plan makes the request for the new container.
func plan(ctx context.Context, conn *connect.Conn, old *container.InspectResponse, o *options) (*client.ContainerCreateOptions, error) {
	if old.Config == nil || old.HostConfig == nil {
		return nil, fmt.Errorf("the daemon does not tell the settings of container %s", old.Name)
	}
	base := &container.Config{}
	if img, err := conn.ImageInspect(ctx, old.Image); err == nil && img.Config != nil {
		base = fromImage(img.Config)
	} // an image that is gone cannot be told from the user's own settings: all are kept
	c := own(old.Config, base, old.ID)
	if o.image != "" {
		c.Image = o.image
	}
	if o.sameImage {
		if now, err := conn.ImageInspect(ctx, c.Image); err != nil || now.ID != old.Image {
			c.Image = old.Image
		}
	}
	hc := *old.HostConfig
	keepVolumes(&hc, old.Mounts)
	o.apply(c, &hc)
	return &client.ContainerCreateOptions{Config: c, HostConfig: &hc, NetworkingConfig: endpoints(old), Name: old.Name[1:]}, nil
}
