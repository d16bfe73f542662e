package network

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

type lsOptions struct {
	noTrunc, quiet bool
	format         string
	filters        value.Filters
}

// NewLs makes `network ls`.
func NewLs(a *app.App) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Aliases:           []string{"list"},
		Short:             "List networks",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		Annotations:       map[string]string{app.AliasesKey: "network ls, network list"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd.Context(), a, &o)
		},
	}
	fs := cmd.Flags()
	fs.VarP(&o.filters, "filter", "f", "Show only what matches (NAME=VALUE)")
	fs.StringVar(&o.format, "format", "", app.FormatHelp)
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not cut long values")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Show only ids")
	return cmd
}

func list(ctx context.Context, a *app.App, o *lsOptions) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	got, err := conn.NetworkList(ctx, client.NetworkListOptions{Filters: o.filters.Values})
	if err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&got.Items)
	}
	if o.format == "" && !o.quiet {
		o.format = a.Config().NetworksFormat
	}
	slices.SortFunc(got.Items, func(x, y network.Summary) int { return strings.Compare(x.Name, y.Name) })
	rows := make([]format.Row, len(got.Items))
	for i := range got.Items {
		rows[i] = &row{&got.Items[i], o.noTrunc}
	}
	return listFormat.Write(a.Out, o.format, o.quiet, rows)
}

var listFormat = format.List{
	Table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
	Quiet: "{{.ID}}",
	Headers: map[string]string{
		"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
		"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
	},
}

// row is one line of `network ls`; its methods are the fields of --format.
type row struct {
	n    *network.Summary
	full bool
}

func (*row) Row() {}

// ID is the network's id.
func (r *row) ID() string { return format.ID(r.n.ID, r.full) }

// Name is the network's name.
func (r *row) Name() string { return r.n.Name }

// Driver is the network's driver.
func (r *row) Driver() string { return r.n.Driver }

// Scope is local or swarm.
func (r *row) Scope() string { return r.n.Scope }

// IPv4 tells whether the network has IPv4.
func (r *row) IPv4() string { return strconv.FormatBool(r.n.EnableIPv4) }

// IPv6 tells whether the network has IPv6.
func (r *row) IPv6() string { return strconv.FormatBool(r.n.EnableIPv6) }

// Internal tells whether the network has no way out.
func (r *row) Internal() string { return strconv.FormatBool(r.n.Internal) }

// CreatedAt is the time of creation.
func (r *row) CreatedAt() string { return r.n.Created.String() }

// Labels are all labels.
func (r *row) Labels() string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(r.n.Labels)) {
		out = append(out, key+"="+r.n.Labels[key])
	}
	return strings.Join(out, ",")
}

// Label is the value of one label.
func (r *row) Label(key string) string { return r.n.Labels[key] }
