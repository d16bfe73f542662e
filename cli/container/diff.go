package container

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
)

// NewDiff makes `diff`.
func NewDiff(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "diff CONTAINER",
		Short:             "Show what differs in a container's files from its image",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.ContainerDiff(cmd.Context(), args[0], client.ContainerDiffOptions{})
			if err != nil {
				return err
			}
			rows := make([]format.Row, len(got.Changes))
			for i, c := range got.Changes {
				rows[i] = &change{c.Kind.String(), c.Path}
			}
			return diffFormat.Write(a.Out.Text(), "", true, rows)
		},
	}, "container diff, diff")
}

var diffFormat = format.List{Quiet: "{{.Type}} {{.Path}}", Table: "{{.Type}} {{.Path}}"}

// change is one line of `diff`.
type change struct{ kind, path string }

func (*change) Row() {}

// Type is A, C or D.
func (c *change) Type() string { return c.kind }

// Path is what changed.
func (c *change) Path() string { return c.path }
