// Package prune is what all `prune` commands have in common: their flags, the
// question, and how the outcome is told.
package prune

import (
	"context"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/value"
)

// Terms are the usual filters, as the help names them.
const Terms = "until=TIME, label=NAME[=VALUE]"

// Options are the flags of a prune.
type Options struct {
	Force, Dry bool
	filters    value.Filters
}

// Register adds the flags.
func (o *Options) Register(fs *pflag.FlagSet, terms, dry string) {
	fs.Var(&o.filters, "filter", "Remove only what matches ("+terms+")")
	fs.BoolVar(&o.Dry, "dry-run", false, "Show what would be removed, and remove nothing"+dry)
	fs.BoolVarP(&o.Force, "force", "f", false, "Do not ask for confirmation")
}

// Confirmed asks, unless nothing is removed or the user said not to. The filters of the
// configuration file (pruneFilters) count from here on.
func (o *Options) Confirmed(ctx context.Context, a *app.App, warning string) (bool, error) {
	if err := o.join(a.Config().PruneFilters); err != nil {
		return false, err
	}
	if o.Force || o.Dry {
		return true, nil
	}
	return a.Confirm(ctx, "WARNING! This will remove"+warning+"\nAre you sure you want to continue?")
}

// join adds filters of the configuration file. A label that the command line asks the
// opposite of is left out.
func (o *Options) join(configured []string) error {
	opposite := map[string]string{"label": "label!", "label!": "label"}
	for _, text := range configured {
		term, v, ok := strings.Cut(text, "=")
		if !ok || o.filters.Values[opposite[term]][v] {
			continue
		}
		if err := o.filters.Set(text); err != nil {
			return err
		}
	}
	return nil
}

// Given are the filters of the command line.
func (o *Options) Given() client.Filters { return o.filters.Values }

// Filters are what goes to the daemon: those given, of the terms named if any
// are, and whether it is a dry run.
func (o *Options) Filters(terms ...string) client.Filters {
	out := client.Filters{}
	if len(terms) == 0 {
		for term := range o.filters.Values {
			terms = append(terms, term)
		}
	}
	for _, term := range terms {
		for v := range o.filters.Values[term] {
			out.Add(term, v)
		}
	}
	if o.Dry {
		out.Add("dry-run", "true")
	}
	return out
}

// List prints what was removed, or with dry would be.
func (o *Options) List(a *app.App, kind string, items []string) {
	if len(items) == 0 {
		return
	}
	if o.Dry {
		a.Println(kind + " that would be deleted:")
	} else {
		a.Println("Deleted " + kind + ":")
	}
	for _, item := range items {
		a.Println(item)
	}
	a.Println("")
}

// Space prints what was given back, or would be.
func (o *Options) Space(a *app.App, bytes uint64) {
	text := "Total reclaimed space: "
	if o.Dry {
		text = "Space that would be reclaimed: "
	}
	a.Println(text + units.HumanSize(float64(bytes)))
}
