package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
)

// NewStop makes `system stop`.
func NewStop(a *app.App) *cobra.Command {
	timeout := 0
	cmd := named(&cobra.Command{
		Use:   "stop [OPTIONS]",
		Short: "Stop all containers side by side, then the daemon",
		Long: `Stop all containers, then the daemon.

Every container gets its own stop signal at the same time, and its own time-out before it
is killed. Containers with a restart policy start again with the next daemon.`,
		Args:              app.NoArgs,
		ValidArgsFunction: complete.None,
	}, "system stop")
	fs := cmd.Flags()
	fs.IntVarP(&timeout, "time", "t", 0, "Seconds to wait before killing, for all of them (default: each container's own)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.NoStart = true
		conn, err := a.Connect()
		if err != nil {
			return err
		}
		o := client.StopAllOptions{}
		if fs.Changed("time") {
			o.Timeout = &timeout
		}
		return stopAll(cmd.Context(), a, conn, o)
	}
	return cmd
}

func stopAll(ctx context.Context, a *app.App, conn *connect.Conn, o client.StopAllOptions) error {
	got, err := conn.StopAll(ctx, o)
	if err != nil {
		return err
	}
	for _, name := range got.Stopped {
		a.Println(name)
	}
	if got.Error != "" {
		return errors.New(got.Error)
	}
	// The daemon answers before it ends; whoever starts the next one waits for that.
	const wait = 15 * time.Second
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := conn.Ping(ctx, client.PingOptions{}); err != nil && connect.Unreachable(err) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the containers have ended, the daemon at %s has not after %v", conn.Host(), wait)
}
