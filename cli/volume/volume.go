// Package volume holds the verbs on volumes.
package volume

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

// Commands are the verbs of `volume`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{NewClone(a), NewCreate(a), NewExport(a), NewImport(a), NewInspect(a), NewLs(a), NewPrune(a), NewRename(a), NewRm(a), NewUpdate(a)}
}

func named(cmd *cobra.Command, names string) *cobra.Command {
	cmd.Annotations = map[string]string{app.AliasesKey: names}
	return cmd
}

// clusterFlags are of CSI volumes, which need a swarm.
var clusterFlags = []string{"availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing", "topology-preferred", "topology-required", "type"}

// NewCreate makes `volume create`.
func NewCreate(a *app.App) *cobra.Command {
	var driver, name string
	var labels value.List
	options := value.NewMap(nil)
	cmd := named(&cobra.Command{
		Use:               "create [OPTIONS] [VOLUME]",
		Short:             "Create a volume",
		Args:              app.RangeArgs(0, 1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range clusterFlags {
				if cmd.Flags().Changed(name) {
					return app.Refuse(name, "cluster volumes need a swarm; create a local volume instead")
				}
			}
			req := client.VolumeCreateOptions{Driver: driver, DriverOpts: options.Values, Labels: value.KeyValues(labels.Values)}
			if len(args) > 0 {
				if name != "" {
					return errors.New("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
				}
				name = args[0]
			}
			req.Name = name
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.VolumeCreate(cmd.Context(), req)
			if err != nil {
				return err
			}
			a.Println(got.Volume.Name)
			return nil
		},
	}, "volume create")
	fs := cmd.Flags()
	fs.StringVarP(&driver, "driver", "d", "local", "Volume driver")
	fs.StringVar(&name, "name", "", "Name of the volume") // how it was said before Docker 1.12
	_ = fs.MarkHidden("name")
	fs.Var(&labels, "label", "Label of the volume (NAME[=VALUE])")
	fs.VarP(&options, "opt", "o", "Option of the driver (type=, device=, o=)")
	var size value.Bytes
	var texts value.List
	secret := value.NewMap(nil)
	for _, name := range clusterFlags {
		switch name {
		case "limit-bytes", "required-bytes":
			fs.Var(&size, name, "")
		case "secret":
			fs.Var(&secret, name, "")
		case "topology-preferred", "topology-required":
			fs.Var(&texts, name, "")
		default:
			fs.String(name, "", "")
		}
		// Registered just above, so the call cannot fail.
		_ = fs.MarkHidden(name)
	}
	return cmd
}

// NewInspect makes `volume inspect`.
func NewInspect(a *app.App) *cobra.Command {
	var format string
	cmd := named(&cobra.Command{
		Use:               "inspect [OPTIONS] VOLUME [VOLUME...]",
		Short:             "Show everything about one or more volumes",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.Inspect(format, args, func(name string) (any, []byte, error) {
				return Inspect(cmd.Context(), a, name)
			})
		},
	}, "volume inspect")
	cmd.Flags().StringVarP(&format, "format", "f", "", app.FormatHelp)
	return cmd
}

// Inspect fetches one volume.
func Inspect(ctx context.Context, a *app.App, name string) (any, []byte, error) {
	conn, err := a.Connect()
	if err != nil {
		return nil, nil, err
	}
	got, err := conn.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
	return got.Volume, got.Raw, err
}

// NewRm makes `volume rm`.
func NewRm(a *app.App) *cobra.Command {
	var o client.VolumeRemoveOptions
	cmd := named(&cobra.Command{
		Use:               "rm [OPTIONS] VOLUME [VOLUME...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more volumes with their data",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return a.ForEach(args, func(name string) error {
				_, err := conn.VolumeRemove(cmd.Context(), name, o)
				if o.Force && errdefs.IsNotFound(err) {
					return nil
				}
				return err
			})
		},
	}, "volume rm, volume remove")
	cmd.Flags().BoolVarP(&o.Force, "force", "f", false, "A volume that does not exist is no error")
	return cmd
}
