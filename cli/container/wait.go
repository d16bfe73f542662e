package container

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/container/follow"
)

// NewWait makes `wait`.
func NewWait(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "wait CONTAINER [CONTAINER...]",
		Short:             "Wait until containers stop, and print their exit codes",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			var batch app.Batch
			for _, name := range args {
				code, err := follow.WaitExit(cmd.Context(), conn, name, "").Code()
				batch.Add(a, err)
				if err == nil {
					a.Println(strconv.Itoa(code))
				}
			}
			return batch.Err()
		},
	}, "container wait, wait")
}
