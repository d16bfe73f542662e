package container

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// topWidth is the least width of a column of `top`.
const topWidth = 20

// NewTop makes `top`.
func NewTop(a *app.App) *cobra.Command {
	cmd := named(&cobra.Command{
		Use:               "top CONTAINER [ps OPTIONS]",
		Short:             "Display the running processes of a container",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.FirstContainer(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			got, err := conn.ContainerTop(cmd.Context(), args[0], client.ContainerTopOptions{Arguments: args[1:]})
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(a.Out.Text(), topWidth, 1, 3, ' ', 0)
			fmt.Fprintln(w, strings.Join(got.Titles, "\t"))
			for _, p := range got.Processes {
				fmt.Fprintln(w, strings.Join(p, "\t"))
			}
			return w.Flush()
		},
	}, "container top, top")
	// What follows the container belongs to ps.
	cmd.Flags().SetInterspersed(false)
	return cmd
}
