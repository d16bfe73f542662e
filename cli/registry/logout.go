package registry

import (
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/credential"
)

// NewLogout makes `logout`.
func NewLogout(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:               "logout [SERVER]",
		Short:             "Log out from a registry",
		Args:              app.RangeArgs(0, 1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			server := ""
			if len(args) > 0 {
				server = args[0]
			}
			found, err := credential.Erase(cmd.Context(), a, server)
			if err != nil {
				return err
			}
			if !found {
				a.Println("Not logged in to " + credential.Key(server))
				return nil
			}
			a.Println("Removing login credentials for " + credential.Key(server))
			return nil
		},
	}
}
