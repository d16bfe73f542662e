// Package logs is the verb `logs`: what one container wrote, as it was written, or
// what many wrote, merged by time. --grep is done by the daemon, so that only what
// matches travels.
package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
)

const logBuffer = 64 << 10

// daemonName is what our daemons call their platform.
const daemonName = "Sampan"

type options = client.ContainerLogsOptions

// New makes `logs`.
func New(a *app.App) *cobra.Command {
	o := options{ShowStdout: true, ShowStderr: true}
	cmd := &cobra.Command{
		Annotations:       map[string]string{app.AliasesKey: "container logs, logs"},
		Use:               "logs [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Show the log of a container, or of many merged by time",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.All),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.Details, "details", false, "Show extra attributes of the log")
	fs.BoolVarP(&o.Follow, "follow", "f", false, "Go on as the log grows")
	fs.StringVar(&o.Grep, "grep", "", "Show only lines that match a regular expression (of those that the other options choose)")
	fs.StringVar(&o.Since, "since", "", `Show lines since a time ("2013-01-02T13:23:37Z") or an age ("42m")`)
	fs.StringVarP(&o.Tail, "tail", "n", "all", "Number of lines from the end")
	fs.BoolVarP(&o.Timestamps, "timestamps", "t", false, "Show the time of each line")
	fs.StringVar(&o.Until, "until", "", `Show lines before a time ("2013-01-02T13:23:37Z") or an age ("42m")`)
	return cmd
}

func show(ctx context.Context, a *app.App, o *options, names []string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	if o.Grep != "" {
		if err := canGrep(ctx, conn); err != nil {
			return err
		}
	}
	if len(names) > 1 {
		return merged(ctx, a, conn, o, names)
	}
	s, err := open(ctx, conn, o, names[0])
	if err != nil {
		return err
	}
	defer s.body.Close()
	out := bufio.NewWriterSize(a.Out, logBuffer)
	if s.tty {
		_, err = io.Copy(a.Out, s.body)
	} else {
		err = copyLines(out, a.Err, bufio.NewReaderSize(s.body, logBuffer))
	}
	return errors.Join(err, out.Flush())
}

// canGrep refuses --grep with another daemon, which would pass the expression over
// and show everything.
func canGrep(ctx context.Context, conn *connect.Conn) error {
	v, err := conn.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return err
	}
	if v.Platform.Name != daemonName {
		return fmt.Errorf("--grep is done by a Sampan daemon, and %s is none (pipe the output through grep)", conn.Host())
	}
	return nil
}

// source is the log of one container.
type source struct {
	name string
	tty  bool
	body io.ReadCloser
}

func open(ctx context.Context, conn *connect.Conn, o *options, name string) (*source, error) {
	body, err := conn.ContainerLogs(ctx, name, *o)
	if err != nil {
		return nil, err
	}
	s := &source{name: name, body: body}
	if client.Multiplexed(body) {
		return s, nil
	}
	// The form of the stream depends on whether the container has a terminal.
	got, err := conn.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err == nil && got.Container.Config == nil {
		err = errors.New("the daemon's answer lacks the container's configuration")
	}
	if err != nil {
		body.Close()
		return nil, err
	}
	s.tty = got.Container.Config.Tty
	return s, nil
}
