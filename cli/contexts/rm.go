package contexts

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/contextstore"
)

func newRm(a *app.App) *cobra.Command {
	var force bool
	cmd := named(&cobra.Command{
		Use:               "rm [OPTIONS] CONTEXT [CONTEXT...]",
		Aliases:           []string{"remove"},
		Short:             "Remove one or more contexts",
		Args:              app.MinArgs(1),
		ValidArgsFunction: names(a),
		RunE: func(_ *cobra.Command, args []string) error {
			var batch app.Batch
			for _, name := range args {
				err := remove(a, name, force)
				if err == nil {
					a.Println(name)
				}
				batch.Add(a, err)
			}
			return batch.Err()
		},
	}, "context rm, context remove")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Remove a context that is in use too; one that does not exist is no error")
	return cmd
}

func remove(a *app.App, name string, force bool) error {
	if name == contextstore.Default {
		return fmt.Errorf("context %q cannot be removed", name)
	}
	inUse := a.Config().CurrentContext == name
	if (inUse || a.ContextName() == name) && !force {
		return fmt.Errorf("context %q is in use, set -f flag to force remove", name)
	}
	if err := a.Contexts().Remove(name); err != nil && (!force || !errors.Is(err, contextstore.ErrNotFound)) {
		return err
	}
	if inUse {
		return setCurrent(a, contextstore.Default)
	}
	return nil
}
