package system

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
)

// NewDialStdio makes `system dial-stdio`: the far end of ssh://HOST, where a
// client speaks to the daemon through the standard streams of this command.
func NewDialStdio(a *app.App) *cobra.Command {
	return named(&cobra.Command{
		Use:               "dial-stdio",
		Short:             "Join standard input and output to the daemon's socket",
		Args:              app.NoArgs,
		Hidden:            true,
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := a.Connect()
			if err != nil {
				return err
			}
			daemon, err := conn.Dial(cmd.Context())
			if err != nil {
				return err
			}
			defer daemon.Close()
			sent := make(chan error, 1)
			go func() {
				_, err := io.Copy(daemon, a.In)
				if c, ok := daemon.(interface{ CloseWrite() error }); ok {
					err = errors.Join(err, c.CloseWrite())
				}
				sent <- err
			}()
			// The daemon's end is the end: what the client still sends has no reader.
			if _, err := io.Copy(a.Out, daemon); err != nil {
				return err
			}
			select {
			case err := <-sent:
				return err
			default:
				return nil
			}
		},
	}, "system dial-stdio")
}
