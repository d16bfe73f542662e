package image

import (
	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/value"
)

type rmOptions struct {
	force, noPrune bool
	platforms      []string
}

// NewRm makes `image rm`.
func NewRm(a *app.App) *cobra.Command {
	cmd := newRm(a, "rm [OPTIONS] IMAGE [IMAGE...]")
	cmd.Aliases = []string{"remove"}
	return cmd
}

// NewRmi makes `rmi`.
func NewRmi(a *app.App) *cobra.Command { return newRm(a, "rmi [OPTIONS] IMAGE [IMAGE...]") }

func newRm(a *app.App, use string) *cobra.Command {
	var o rmOptions
	cmd := named(&cobra.Command{
		Use:               use,
		Short:             "Remove one or more images",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Images(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := client.ImageRemoveOptions{Force: o.force, PruneChildren: !o.noPrune}
			for _, v := range o.platforms {
				p, err := value.Platform(v)
				if err != nil {
					return err
				}
				req.Platforms = append(req.Platforms, *p)
			}
			return remove(cmd, a, req, args)
		},
	}, "image rm, image remove, rmi")
	fs := cmd.Flags()
	fs.BoolVarP(&o.force, "force", "f", false, "Remove the image although it has other names or stopped containers")
	fs.BoolVar(&o.noPrune, "no-prune", false, "Keep untagged parents")
	fs.StringSliceVar(&o.platforms, "platform", nil, "Remove only these platforms of the image (OS/ARCH[/VARIANT])")
	return cmd
}

// remove goes one by one: removing a name decides what the next one means.
func remove(cmd *cobra.Command, a *app.App, req client.ImageRemoveOptions, names []string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	var batch app.Batch
	for _, name := range names {
		got, err := conn.ImageRemove(cmd.Context(), name, req)
		if err != nil {
			if req.Force && errdefs.IsNotFound(err) {
				a.PrintError(err)
				continue
			}
			batch.Add(a, err)
			continue
		}
		for _, item := range got.Items {
			if item.Deleted != "" {
				a.Println("Deleted: " + item.Deleted)
			} else {
				a.Println("Untagged: " + item.Untagged)
			}
		}
	}
	return batch.Err()
}
