package manifest

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

type pushOptions struct{ purge, insecure bool }

func newPush(a *app.App) *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:               "push [OPTIONS] MANIFEST_LIST",
		Short:             "Write an index to its registry",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.None,
		RunE:              func(cmd *cobra.Command, args []string) error { return push(cmd.Context(), a, &o, args[0]) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.purge, "purge", "p", false, "Forget the index here afterwards")
	fs.BoolVar(&o.insecure, "insecure", false, "Allow a registry without verified TLS")
	return cmd
}

func push(ctx context.Context, a *app.App, o *pushOptions, name string) error {
	x, err := load(a, name)
	if err != nil {
		return err
	}
	got, err := ask(ctx, a, name, o.insecure, x.Entries)
	if err != nil {
		return err
	}
	a.Println(got.Descriptor.Digest.String())
	if o.purge {
		return remove(a, name)
	}
	return nil
}
