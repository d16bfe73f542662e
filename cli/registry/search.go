package registry

import (
	"context"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/credential"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

func isUnauthorized(err error) bool { return errdefs.IsUnauthorized(err) }

type searchOptions struct {
	filters value.Filters
	format  string
	limit   int
	noTrunc bool
}

// NewSearch makes `search`.
func NewSearch(a *app.App) *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:               "search [OPTIONS] TERM",
		Short:             "Search a registry for images: Docker Hub, or the one that TERM begins with",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			return search(cmd.Context(), a, &o, args[0])
		},
	}
	fs := cmd.Flags()
	fs.VarP(&o.filters, "filter", "f", "Show only what matches: stars=N, is-official=true")
	fs.StringVar(&o.format, "format", "", app.FormatHelp)
	fs.IntVar(&o.limit, "limit", 0, "Most results to show")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not cut long values")
	return cmd
}

func search(ctx context.Context, a *app.App, o *searchOptions, term string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	server := ""
	if first, _, ok := strings.Cut(term, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		server = first
	}
	login, err := credential.Get(ctx, a, server)
	if err != nil {
		return err
	}
	got, err := conn.ImageSearch(ctx, term, client.ImageSearchOptions{RegistryAuth: login.Header(), Filters: o.filters.Values, Limit: o.limit})
	if err != nil {
		return err
	}
	if a.Out.IsTerminal() {
		terminal.CleanDeep(&got.Items)
	}
	rows := make([]format.Row, len(got.Items))
	for i := range got.Items {
		rows[i] = &searchRow{&got.Items[i], o}
	}
	return searchFormat.Write(a.Out, o.format, false, rows)
}

var searchFormat = format.List{
	Table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
	Quiet: "{{.Name}}",
	Headers: map[string]string{
		"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL", "IsAutomated": "AUTOMATED",
	},
}

const descriptionWidth = 45

// searchRow is one repository; its methods are the fields of --format.
type searchRow struct {
	found *registry.SearchResult
	o     *searchOptions
}

func (*searchRow) Row() {}

// Name is the repository.
func (r *searchRow) Name() string { return r.found.Name }

// Description is what its owner says of it, on one line.
func (r *searchRow) Description() string {
	text := strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(r.found.Description)
	if !r.o.noTrunc {
		text = format.Ellipsis(text, descriptionWidth)
	}
	return text
}

// StarCount is how many like it.
func (r *searchRow) StarCount() string { return strconv.Itoa(r.found.StarCount) }

// IsOfficial is [OK] for the Hub's own images.
func (r *searchRow) IsOfficial() string { return mark(r.found.IsOfficial) }

// IsAutomated is empty: the Hub does not tell any more.
func (r *searchRow) IsAutomated() string { return "" }

func mark(yes bool) string {
	if yes {
		return "[OK]"
	}
	return ""
}
