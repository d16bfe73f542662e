package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/value"
)

var filterTerms = []string{"until", "label", "label!"}

type pruneOptions struct {
	force, all, volumes, dry bool
	filters                  value.Filters
}

// NewPrune makes `system prune`.
func NewPrune(a *app.App) *cobra.Command {
	var o pruneOptions
	cmd := named(&cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove what nothing uses",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return prune(cmd.Context(), a, &o)
		},
	}, "system prune")
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Remove all images without a container, not only those without a name")
	fs.Var(&o.filters, "filter", "Remove only what matches (until=TIME, label=NAME[=VALUE])")
	fs.BoolVar(&o.dry, "dry-run", false, "Show what would be removed, and remove nothing; what only these containers use is not among it")
	fs.BoolVarP(&o.force, "force", "f", false, "Do not ask for confirmation")
	fs.BoolVar(&o.volumes, "volumes", false, "Remove anonymous volumes too")
	return cmd
}

func (o *pruneOptions) warning() string {
	text := "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
	if o.volumes {
		text += "  - all anonymous volumes not used by at least one container\n"
	}
	if o.all {
		text += "  - all images without at least one container associated to them\n"
	} else {
		text += "  - all dangling images\n"
	}
	if len(o.filters.Values) > 0 {
		text += "\n  Items to be pruned will be filtered with the given filters\n"
	}
	return text + "\nAre you sure you want to continue?"
}

// only keeps the filters that a kind of object has.
func (o *pruneOptions) only(terms ...string) client.Filters {
	out := client.Filters{}
	for _, term := range terms {
		for v := range o.filters.Values[term] {
			out.Add(term, v)
		}
	}
	if o.dry {
		out.Add("dry-run", "true")
	}
	return out
}

func prune(ctx context.Context, a *app.App, o *pruneOptions) error {
	if o.volumes && len(o.filters.Values["until"]) > 0 {
		return errors.New(`the "until" filter is not supported with "--volumes": volumes have no time of last use`)
	}
	// Each kind gets the filters that it has: one that none has would be forgotten, and everything pruned.
	for term := range o.filters.Values {
		if !slices.Contains(filterTerms, term) {
			return fmt.Errorf("invalid filter '%s': system prune has %s", term, strings.Join(filterTerms, ", "))
		}
	}
	if !o.force && !o.dry {
		if ok, err := a.Confirm(ctx, o.warning()); err != nil || !ok {
			return err
		}
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	total, err := pruneAll(ctx, a, o, conn)
	if err != nil {
		return err
	}
	a.Println(value.Reclaimed(o.dry) + units.HumanSize(float64(total)))
	return nil
}

// pruneAll goes in the order in which things hold on to each other.
func pruneAll(ctx context.Context, a *app.App, o *pruneOptions, conn *connect.Conn) (total uint64, err error) {
	list := func(title string, items []string) {
		if len(items) > 0 {
			a.Println(title + "\n" + strings.Join(items, "\n") + "\n")
		}
	}
	containers, err := conn.ContainerPrune(ctx, client.ContainerPruneOptions{Filters: o.only(filterTerms...)})
	if err != nil {
		return 0, err
	}
	list(value.Pruned("Containers", o.dry), containers.Report.ContainersDeleted)
	total += containers.Report.SpaceReclaimed
	networks, err := conn.NetworkPrune(ctx, client.NetworkPruneOptions{Filters: o.only(filterTerms...)})
	if err != nil {
		return 0, err
	}
	list(value.Pruned("Networks", o.dry), networks.Report.NetworksDeleted)
	if o.volumes {
		volumes, err := conn.VolumePrune(ctx, client.VolumePruneOptions{Filters: o.only("label", "label!")})
		if err != nil {
			return 0, err
		}
		list(value.Pruned("Volumes", o.dry), volumes.Report.VolumesDeleted)
		total += volumes.Report.SpaceReclaimed
	}
	filters := o.only(filterTerms...)
	filters.Add("dangling", strconv.FormatBool(!o.all))
	images, err := conn.ImagePrune(ctx, client.ImagePruneOptions{Filters: filters})
	if err != nil {
		return 0, err
	}
	var deleted []string
	for _, item := range images.Report.ImagesDeleted {
		if item.Untagged != "" {
			deleted = append(deleted, "untagged: "+item.Untagged)
		} else {
			deleted = append(deleted, "deleted: "+item.Deleted)
		}
	}
	list(value.Pruned("Images", o.dry), deleted)
	return total + images.Report.SpaceReclaimed, nil
}
