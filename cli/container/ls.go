package container

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

type lsOptions struct {
	all, latest, noTrunc, quiet, size bool
	last                              int
	format                            string
	filters                           value.Filters
}

// NewLs makes `container ls`.
func NewLs(a *app.App) *cobra.Command {
	cmd := newLs(a, "ls [OPTIONS]")
	cmd.Aliases = []string{"list", "ps"}
	return cmd
}

// NewPs makes `ps`.
func NewPs(a *app.App) *cobra.Command { return newLs(a, "ps [OPTIONS]") }

func newLs(a *app.App, use string) *cobra.Command {
	var o lsOptions
	cmd := named(&cobra.Command{
		Use:               use,
		Short:             "List containers",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.size = o.size && cmd.Flags().Changed("size")
			return list(cmd.Context(), a, &o)
		},
	}, "container ls, container list, container ps, ps")
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Show all containers, not only those that run")
	fs.VarP(&o.filters, "filter", "f", "Show only what matches (NAME=VALUE)")
	fs.StringVar(&o.format, "format", "", app.FormatHelp)
	fs.IntVarP(&o.last, "last", "n", -1, "Show the last N created containers, in any state")
	fs.BoolVarP(&o.latest, "latest", "l", false, "Show the latest created container, in any state")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not cut long values")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Show only ids")
	fs.BoolVarP(&o.size, "size", "s", false, "Show the sizes of the containers' files")
	return cmd
}

func list(ctx context.Context, a *app.App, o *lsOptions) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	if o.format == "" && !o.quiet {
		o.format = a.Config().PsFormat
	}
	req := client.ContainerListOptions{All: o.all, Limit: o.last, Size: o.size || usesSize(o.format), Filters: o.filters.Values}
	// The default table shows no labels, mounts and networks.
	req.Brief = (o.format == "" || o.format == "table") && !o.size
	if o.latest {
		req.Limit = 1
	}
	got, err := conn.ContainerList(ctx, req)
	if err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&got.Items)
	}
	rows := make([]format.Row, len(got.Items))
	for i := range got.Items {
		rows[i] = &row{c: &got.Items[i], full: o.noTrunc, size: req.Size}
	}
	l := listFormat
	if o.size {
		l.Table += "\t{{.Size}}"
	}
	return l.Write(a.Out, o.format, o.quiet, rows)
}
