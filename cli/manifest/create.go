package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

type createOptions struct{ amend, insecure bool }

func newCreate(a *app.App) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:               "create MANIFEST_LIST MANIFEST [MANIFEST...]",
		Short:             "Begin an index of images that are in a registry",
		Args:              app.MinArgs(2),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			return create(cmd.Context(), a, &o, args[0], args[1:])
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.amend, "amend", "a", false, "Change an index that was begun before")
	fs.BoolVar(&o.insecure, "insecure", false, "Allow a registry without verified TLS")
	return cmd
}

func create(ctx context.Context, a *app.App, o *createOptions, name string, images []string) error {
	x, err := load(a, name)
	switch {
	case err == nil && !o.amend:
		return errors.New("refusing to amend an existing manifest list with no --amend flag")
	case errors.Is(err, fs.ErrNotExist):
		x = &index{Ref: full(name)}
	case err != nil:
		return err
	}
	for _, image := range images {
		got, err := ask(ctx, a, image, o.insecure, nil)
		if err != nil {
			return err
		}
		if got.Descriptor.Platform == nil {
			return fmt.Errorf("%s is an index or an artifact, and no image of one platform", image)
		}
		e := entry{Name: full(image), Descriptor: got.Descriptor}
		if i := x.find(image); i >= 0 {
			x.Entries[i] = e
		} else {
			x.Entries = append(x.Entries, e)
		}
	}
	if err := save(a, x); err != nil {
		return err
	}
	a.Println("Created manifest list " + x.Ref)
	return nil
}
