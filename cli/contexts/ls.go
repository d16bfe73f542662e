package contexts

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/contextstore"
	"github.com/sampan-containers/sampan/cli/format"
)

func newLs(a *app.App) *cobra.Command {
	var text string
	var quiet bool
	cmd := named(&cobra.Command{
		Use:               "ls [OPTIONS]",
		Aliases:           []string{"list"},
		Short:             "List contexts",
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
		RunE: func(*cobra.Command, []string) error {
			list, wrong := a.Contexts().List()
			base, err := get(a, contextstore.Default)
			if err != nil {
				return err
			}
			base.Describe("Current SAMPAN_HOST or DOCKER_HOST based configuration")
			list = append(list, base)
			slices.SortFunc(list, func(x, y *contextstore.Context) int { return strings.Compare(x.Name, y.Name) })
			current := a.ContextName()
			var rows []format.Row
			for _, c := range list {
				rows = append(rows, &row{c: c, current: c.Name == current, star: !quiet && (text == "" || strings.HasPrefix(text, "table"))})
			}
			if err := listFormat.Write(a.Out, text, quiet, rows); err != nil {
				return err
			}
			if name := app.HostVariable(); name != "" && a.Config().CurrentContext != "" {
				fmt.Fprintln(a.Err.Text(), overridden(name))
			}
			return wrong
		},
	}, "context ls, context list")
	cmd.Flags().StringVar(&text, "format", "", app.FormatHelp)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Show only names")
	return cmd
}

func overridden(variable string) string {
	return "Warning: " + variable + " environment variable overrides the active context. To use a context, either set the global --context flag, or unset " + variable + " environment variable."
}

var listFormat = format.List{
	Table:   "{{.Name}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
	Quiet:   "{{.Name}}",
	Headers: map[string]string{"Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR", "Current": "CURRENT"},
}

// row is one line of `context ls`; its methods are the fields of --format.
type row struct {
	c             *contextstore.Context
	current, star bool
}

func (*row) Row() {}

// Name is the context's name, in a table with a star if it is in use.
func (r *row) Name() string {
	if r.current && r.star {
		return r.c.Name + " *"
	}
	return r.c.Name
}

// Current tells whether the context is in use.
func (r *row) Current() bool { return r.current }

// Description is the text for people.
func (r *row) Description() string { return r.c.Description() }

// DockerEndpoint is the daemon's address.
func (r *row) DockerEndpoint() string { return r.c.Docker().Host }

// Error is empty: contexts that cannot be read are told after the list.
func (r *row) Error() string { return "" }
