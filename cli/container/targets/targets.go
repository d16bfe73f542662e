// Package targets lets a verb work on all containers of a kind, chosen by a flag
// instead of names.
package targets

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
)

// Targets are the flags. The zero value has none set.
type Targets struct{ all, exited bool }

// Register adds --all with its help text.
func (t *Targets) Register(fs *pflag.FlagSet, help string) {
	fs.BoolVar(&t.all, "all", false, help)
}

// RegisterExited adds --exited.
func (t *Targets) RegisterExited(fs *pflag.FlagSet, help string) {
	fs.BoolVar(&t.exited, "exited", false, help)
}

// Args wants names or a flag, and not both.
func (t *Targets) Args(cmd *cobra.Command, args []string) error {
	switch {
	case t.all && t.exited:
		return errors.New("conflicting options: --all and --exited")
	case t.all || t.exited:
		if len(args) > 0 {
			return errors.New("conflicting options: names of containers, and --all or --exited")
		}
		return nil
	}
	return app.MinArgs(1)(cmd, args)
}

// Lister lists containers.
type Lister interface {
	ContainerList(context.Context, client.ContainerListOptions) (client.ContainerListResult, error)
}

// Names returns args, or the ids that the flags stand for: with running those that run
// or are paused or wait for a restart. None is no error.
func (t *Targets) Names(ctx context.Context, l Lister, args []string, running bool) ([]string, error) {
	if !t.all && !t.exited {
		return args, nil
	}
	o := client.ContainerListOptions{All: true}
	var states []string
	switch {
	case t.exited:
		states = []string{"exited", "dead"}
	case running:
		states = []string{"running", "paused", "restarting"}
	}
	if states != nil {
		o.Filters = client.Filters{}
		o.Filters.Add("status", states...)
	}
	got, err := l.ContainerList(ctx, o)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(got.Items))
	for i := range got.Items {
		names = append(names, got.Items[i].ID)
	}
	return names, nil
}
