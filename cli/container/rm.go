package container

import (
	"errors"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/container/targets"
)

// NewRm makes `rm`.
func NewRm(a *app.App) *cobra.Command {
	var o client.ContainerRemoveOptions
	var which targets.Targets
	cmd := named(&cobra.Command{
		Use:               "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more containers",
		Args:              which.Args,
		ValidArgsFunction: complete.Containers(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			if args, err = which.Names(cmd.Context(), conn, args, false); err != nil {
				return err
			}
			var batch app.Batch
			app.Each(args, func(name string) error {
				name = strings.Trim(name, "/")
				if name == "" {
					return errors.New("container name cannot be empty")
				}
				_, err := conn.ContainerRemove(cmd.Context(), name, o)
				return err
			}, func(name string, err error) {
				switch {
				case err == nil:
					a.Println(name)
				case o.Force && errdefs.IsNotFound(err):
					// -f means: make sure that it is gone.
					a.PrintError(err)
				default:
					batch.Add(a, err)
				}
			})
			return batch.Err()
		},
	}, "container rm, container remove, rm")
	fs := cmd.Flags()
	which.Register(fs, "Every container, running ones only with --force")
	which.RegisterExited(fs, "Every container that has ended")
	fs.BoolVarP(&o.Force, "force", "f", false, "Kill a running container and remove it")
	fs.BoolVarP(&o.RemoveLinks, "link", "l", false, "Remove the link and not the container")
	fs.BoolVarP(&o.RemoveVolumes, "volumes", "v", false, "Remove anonymous volumes of the container too")
	return cmd
}
