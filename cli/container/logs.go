package container

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
)

const logBuffer = 64 << 10

// NewLogs makes `logs`.
func NewLogs(a *app.App) *cobra.Command {
	o := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true}
	cmd := named(&cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER",
		Short:             "Show the log of a container",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			return logs(cmd.Context(), a, o, args[0])
		},
	}, "container logs, logs")
	fs := cmd.Flags()
	fs.BoolVar(&o.Details, "details", false, "Show extra attributes of the log")
	fs.BoolVarP(&o.Follow, "follow", "f", false, "Go on as the log grows")
	fs.StringVar(&o.Since, "since", "", `Show lines since a time ("2013-01-02T13:23:37Z") or an age ("42m")`)
	fs.StringVarP(&o.Tail, "tail", "n", "all", "Number of lines from the end")
	fs.BoolVarP(&o.Timestamps, "timestamps", "t", false, "Show the time of each line")
	fs.StringVar(&o.Until, "until", "", `Show lines before a time ("2013-01-02T13:23:37Z") or an age ("42m")`)
	return cmd
}

func logs(ctx context.Context, a *app.App, o client.ContainerLogsOptions, name string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	// The form of the stream depends on whether the container has a terminal.
	got, err := conn.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	if got.Container.Config == nil {
		return errors.New("the daemon's answer lacks the container's configuration")
	}
	r, err := conn.ContainerLogs(ctx, got.Container.ID, o)
	if err != nil {
		return err
	}
	defer r.Close()
	if got.Container.Config.Tty {
		_, err = io.Copy(a.Out, r)
		return err
	}
	return demultiplex(a.Out, a.Err, bufio.NewReaderSize(r, logBuffer))
}
