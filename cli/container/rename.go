package container

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewRename makes `rename`.
func NewRename(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "rename CONTAINER NEW_NAME",
		Short:             "Rename a container",
		Args:              app.ExactArgs(2),
		ValidArgsFunction: complete.FirstContainer(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			old, name := strings.TrimSpace(args[0]), strings.TrimSpace(args[1])
			if old == "" || strings.Trim(name, "/") == "" {
				//lint:ignore ST1005 these are Docker's words
				return errors.New("Error: Neither old nor new names may be empty")
			}
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			_, err = conn.ContainerRename(cmd.Context(), old, client.ContainerRenameOptions{NewName: name})
			return err
		},
	}, "container rename, rename")
}
