package container

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/container/follow"
	"github.com/sampan-containers/sampan/cli/terminal"
	"github.com/sampan-containers/sampan/cli/value"
)

type execFlags struct {
	detach, interactive, tty, privileged bool
	user, workdir, detachKeys            string
	env, envFiles                        value.List
}

// NewExec makes `exec`.
func NewExec(a *app.App) *cobra.Command {
	o := execFlags{env: value.NewList(value.CheckEnv)}
	cmd := named(&cobra.Command{
		Use:               "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short:             "Run a command in a running container",
		Args:              app.MinArgs(2),
		ValidArgsFunction: complete.FirstContainer(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			return execute(cmd.Context(), a, &o, args[0], args[1:])
		},
	}, "container exec, exec")
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.BoolVarP(&o.detach, "detach", "d", false, "Run the command in the background")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach from the command")
	fs.VarP(&o.env, "env", "e", "Set an environment variable (NAME[=VALUE])")
	fs.Var(&o.envFiles, "env-file", "Read environment variables from a file")
	fs.BoolVarP(&o.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	fs.BoolVar(&o.privileged, "privileged", false, "Give the command all capabilities")
	fs.BoolVarP(&o.tty, "tty", "t", false, "Give the command a terminal")
	fs.StringVarP(&o.user, "user", "u", "", "User name or id, and group (NAME|UID[:GROUP|GID])")
	fs.StringVarP(&o.workdir, "workdir", "w", "", "Working directory inside the container")
	return cmd
}

func execute(ctx context.Context, a *app.App, o *execFlags, name string, command []string) error {
	req, err := o.request(a, command)
	if err != nil {
		return err
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	if !o.detach {
		id, s, err := runExec(ctx, a, conn, name, o, req)
		if !client.NoSuchRoute(err) {
			return followExec(ctx, a, conn, o, id, s, err)
		}
	}
	created, err := conn.ExecCreate(ctx, name, req)
	if err != nil {
		return err
	}
	if created.ID == "" {
		return errors.New("the daemon made an exec without an id")
	}
	if o.detach {
		_, err := conn.ExecStart(ctx, created.ID, client.ExecStartOptions{Detach: true, TTY: o.tty, ConsoleSize: req.ConsoleSize})
		return execFailure(err)
	}
	s, err := openExec(ctx, a, conn, created.ID, o, req)
	return followExec(ctx, a, conn, o, created.ID, s, execFailure(err))
}

// followExec follows a command whose stream was opened, or failed to be.
func followExec(ctx context.Context, a *app.App, conn *connect.Conn, o *execFlags, id string, s *follow.Session, err error) error {
	if err != nil {
		return err
	}
	if o.tty {
		sizes, stop := context.WithCancel(ctx)
		defer stop()
		follow.TerminalSize(sizes, a, func(h, w uint) error {
			_, err := conn.ExecResize(sizes, id, client.ExecResizeOptions{Height: h, Width: w})
			return err
		})
	}
	if err := s.Run(ctx); errors.Is(err, follow.ErrDetached) {
		return nil
	} else if err != nil {
		return err
	}
	if code, told := s.ExitCode(); told {
		return app.Exit(code)
	}
	return execStatus(ctx, conn, id)
}

// runExec is create and start in one request; client.NoSuchRoute tells of a daemon
// that does not have it.
func runExec(ctx context.Context, a *app.App, conn *connect.Conn, name string, o *execFlags, req client.ExecCreateOptions) (string, *follow.Session, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return "", nil, errors.New("invalid container name or ID: value is empty")
	}
	body, err := req.Body()
	if err != nil {
		return "", nil, err
	}
	stream, err := conn.Hijack(ctx, client.ExecRunPath(name), url.Values{"end": {"1"}}, body)
	if err != nil {
		return "", nil, err
	}
	return stream.Header.Get(execHeader), execSession(a, stream, o, req), nil
}

// execHeader names the exec in the answer of a run.
const execHeader = "Sampan-Exec"

func (o *execFlags) request(a *app.App, command []string) (client.ExecCreateOptions, error) {
	req := client.ExecCreateOptions{
		User: o.user, Privileged: o.privileged, TTY: o.tty, WorkingDir: o.workdir, Cmd: command,
		AttachStdin: o.interactive && !o.detach, AttachStdout: !o.detach, AttachStderr: !o.detach,
	}
	if err := terminal.CheckDetachKeys(o.detachKeys); err != nil {
		return req, err
	}
	if err := follow.CheckTTY(a, req.AttachStdin, o.tty); err != nil {
		return req, err
	}
	if !o.detach {
		req.DetachKeys = a.DetachKeys(o.detachKeys)
	}
	if o.tty {
		req.ConsoleSize.Height, req.ConsoleSize.Width = a.Out.Size()
	}
	var err error
	req.Env, err = value.Env(o.envFiles.Values, o.env.Values)
	return req, err
}

func openExec(ctx context.Context, a *app.App, conn *connect.Conn, id string, o *execFlags, req client.ExecCreateOptions) (*follow.Session, error) {
	body := container.ExecStartRequest{Tty: o.tty}
	if req.ConsoleSize != (client.ConsoleSize{}) {
		body.ConsoleSize = &[2]uint{req.ConsoleSize.Height, req.ConsoleSize.Width}
	}
	stream, err := conn.Hijack(ctx, "/exec/"+url.PathEscape(id)+"/start", nil, body)
	if err != nil {
		return nil, err
	}
	return execSession(a, stream, o, req), nil
}

func execSession(a *app.App, stream *connect.Stream, o *execFlags, req client.ExecCreateOptions) *follow.Session {
	s := &follow.Session{App: a, Stream: stream, TTY: o.tty, Stdout: a.Out, Stderr: a.Err, DetachKeys: req.DetachKeys}
	if req.AttachStdin {
		s.Stdin = a.In
	}
	return s
}

// execFailure gives a command that could not start the shells' exit code.
func execFailure(err error) error {
	if err == nil {
		return nil
	}
	code := startFailure(err)
	if code == app.ExitEngine {
		code = app.ExitFailure
	}
	return &app.StatusError{Code: code, Err: err}
}

// execStatus asks for the exit code; a daemon that went away meanwhile may
// come back, the command's end is recorded by the container's supervisor.
func execStatus(ctx context.Context, conn *connect.Conn, id string) error {
	deadline := time.Now().Add(follow.ReturnTimeout)
	for pause := follow.FirstRetry; ; pause = min(pause*2, follow.LastRetry) {
		got, err := conn.ExecInspect(ctx, id, client.ExecInspectOptions{})
		switch {
		case err == nil && !got.Running:
			return app.Exit(got.ExitCode)
		case err == nil && time.Now().After(deadline):
			return fmt.Errorf("the stream of the command ended, but it still runs (pid %d)", got.PID)
		case err != nil && !connect.Unreachable(err) && !errdefs.IsUnavailable(err):
			return err
		case err != nil && time.Now().After(deadline):
			return fmt.Errorf("the exit code of the command is not known: %w", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
