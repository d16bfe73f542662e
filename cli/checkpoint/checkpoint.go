// Package checkpoint holds the verbs on checkpoints: the saved processes of containers.
package checkpoint

import (
	"fmt"

	"github.com/moby/moby/api/types/checkpoint"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// Commands are the verbs of `checkpoint`, in the order of the help.
func Commands(a *app.App) []*cobra.Command {
	return []*cobra.Command{NewCreate(a), NewLs(a), NewRm(a)}
}

func named(cmd *cobra.Command, names string) *cobra.Command {
	cmd.Annotations = map[string]string{app.AliasesKey: names}
	return cmd
}

const dirHelp = "Where checkpoints are stored, a directory of the daemon's machine"

// NewCreate makes `checkpoint create`.
func NewCreate(a *app.App) *cobra.Command {
	var o checkpoint.CreateRequest
	var leave bool
	cmd := named(&cobra.Command{
		Use:               "create [OPTIONS] CONTAINER CHECKPOINT",
		Short:             "Create a checkpoint from a running container",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.FirstContainer(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			o.CheckpointID, o.Exit = args[1], !leave
			if err := conn.CheckpointCreate(cmd.Context(), args[0], o); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out, args[1])
			return err
		},
	}, "checkpoint create")
	fs := cmd.Flags()
	fs.StringVar(&o.CheckpointDir, "checkpoint-dir", "", dirHelp)
	fs.BoolVar(&leave, "leave-running", false, "Leave the container running after the checkpoint")
	return cmd
}

// NewLs makes `checkpoint ls`.
func NewLs(a *app.App) *cobra.Command {
	var dir string
	cmd := named(&cobra.Command{
		Use:               "ls [OPTIONS] CONTAINER",
		Aliases:           []string{"list"},
		Short:             "List checkpoints for a container",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			list, err := conn.CheckpointList(cmd.Context(), args[0], dir)
			if err != nil {
				return err
			}
			if a.Out.IsTerminal() {
				terminal.CleanDeep(&list)
			}
			rows := make([]format.Row, len(list))
			for i := range list {
				rows[i] = &row{list[i].Name}
			}
			return listFormat.Write(a.Out, "", false, rows)
		},
	}, "checkpoint ls, checkpoint list")
	cmd.Flags().StringVar(&dir, "checkpoint-dir", "", dirHelp)
	return cmd
}

var listFormat = format.List{Table: "{{.Name}}", Quiet: "{{.Name}}", Headers: map[string]string{"Name": "CHECKPOINT NAME"}}

type row struct{ name string }

func (*row) Row() {}

// Name is the checkpoint's name.
func (r *row) Name() string { return r.name }

// NewRm makes `checkpoint rm`.
func NewRm(a *app.App) *cobra.Command {
	var dir string
	cmd := named(&cobra.Command{
		Use:               "rm [OPTIONS] CONTAINER CHECKPOINT",
		Aliases:           []string{"remove"},
		Short:             "Remove a checkpoint",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			return conn.CheckpointRemove(cmd.Context(), args[0], dir, args[1])
		},
	}, "checkpoint rm, checkpoint remove")
	cmd.Flags().StringVar(&dir, "checkpoint-dir", "", dirHelp)
	return cmd
}
