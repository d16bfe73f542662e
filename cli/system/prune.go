package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/image"
	"github.com/sampan-containers/sampan/cli/prune"
)

var filterTerms = []string{"until", "label", "label!"}

type pruneOptions struct {
	prune.Options
	all, volumes bool
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
			return pruneSystem(cmd.Context(), a, &o)
		},
	}, "system prune")
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Remove all images without a container, not only those without a name")
	o.Register(fs, prune.Terms, "; what only these containers use is not among it")
	fs.BoolVar(&o.volumes, "volumes", false, "Remove anonymous volumes too")
	return cmd
}

func (o *pruneOptions) warning() string {
	text := ":\n  - all stopped containers\n  - all networks not used by at least one container\n"
	if o.volumes {
		text += "  - all anonymous volumes not used by at least one container\n"
	}
	if o.all {
		text += "  - all images without at least one container associated to them\n"
	} else {
		text += "  - all dangling images\n"
	}
	if len(o.Given()) > 0 {
		text += "\n  Items to be pruned will be filtered with the given filters\n"
	}
	return text
}

func pruneSystem(ctx context.Context, a *app.App, o *pruneOptions) error {
	if o.volumes && len(o.Given()["until"]) > 0 {
		return errors.New(`the "until" filter is not supported with "--volumes": volumes have no time of last use`)
	}
	// Each kind gets the filters that it has: one that none has would be forgotten, and everything pruned.
	for term := range o.Given() {
		if !slices.Contains(filterTerms, term) {
			return fmt.Errorf("invalid filter '%s': system prune has %s", term, strings.Join(filterTerms, ", "))
		}
	}
	if ok, err := o.Confirmed(ctx, a, o.warning()); err != nil || !ok {
		return err
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	total, err := pruneAll(ctx, a, o, conn)
	if err != nil {
		return err
	}
	o.Space(a, total)
	return nil
}

// pruneAll goes in the order in which things hold on to each other.
func pruneAll(ctx context.Context, a *app.App, o *pruneOptions, conn *connect.Conn) (total uint64, err error) {
	containers, err := conn.ContainerPrune(ctx, client.ContainerPruneOptions{Filters: o.Filters(filterTerms...)})
	if err != nil {
		return 0, err
	}
	o.List(a, "Containers", containers.Report.ContainersDeleted)
	total += containers.Report.SpaceReclaimed
	networks, err := conn.NetworkPrune(ctx, client.NetworkPruneOptions{Filters: o.Filters(filterTerms...)})
	if err != nil {
		return 0, err
	}
	o.List(a, "Networks", networks.Report.NetworksDeleted)
	if o.volumes {
		volumes, err := conn.VolumePrune(ctx, client.VolumePruneOptions{Filters: o.Filters("label", "label!")})
		if err != nil {
			return 0, err
		}
		o.List(a, "Volumes", volumes.Report.VolumesDeleted)
		total += volumes.Report.SpaceReclaimed
	}
	filters := o.Filters(filterTerms...)
	filters.Add("dangling", strconv.FormatBool(!o.all))
	images, err := conn.ImagePrune(ctx, client.ImagePruneOptions{Filters: filters})
	if err != nil {
		return 0, err
	}
	o.List(a, "Images", image.Removed(images.Report.ImagesDeleted))
	return total + images.Report.SpaceReclaimed, nil
}
