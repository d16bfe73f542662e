package container

import (
	"context"
	"errors"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/container/follow"
	"github.com/sampan-containers/sampan/cli/terminal"
)

type startOptions struct {
	attach        bool
	interactive   bool
	detachKeys    string
	checkpoint    string
	checkpointDir string
}

// NewStart makes `start`.
func NewStart(a *app.App) *cobra.Command {
	var o startOptions
	cmd := named(&cobra.Command{
		Use:               "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Start one or more stopped containers",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.Stopped),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.attach || o.interactive {
				return startAttached(cmd.Context(), a, &o, args)
			}
			if o.checkpoint != "" && len(args) > 1 {
				return errors.New("you cannot restore multiple containers at once")
			}
			return startAll(cmd.Context(), a, &o, args)
		},
	}, "container start, start")
	fs := cmd.Flags()
	fs.BoolVarP(&o.attach, "attach", "a", false, "Attach STDOUT and STDERR, and forward signals")
	fs.BoolVarP(&o.interactive, "interactive", "i", false, "Attach the container's STDIN")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach from the container")
	fs.StringVar(&o.checkpoint, "checkpoint", "", "Restore from this checkpoint")
	fs.StringVar(&o.checkpointDir, "checkpoint-dir", "", "Where checkpoints are stored")
	return cmd
}

// from is what a container starts from.
func (o *startOptions) from() client.ContainerStartOptions {
	return client.ContainerStartOptions{CheckpointID: o.checkpoint, CheckpointDir: o.checkpointDir}
}

func startAll(ctx context.Context, a *app.App, o *startOptions, names []string) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	// One after another, as Docker does: a later one may need an earlier one, by a link
	// or by its network namespace.
	var batch app.Batch
	for _, name := range names {
		_, err := conn.ContainerStart(ctx, name, o.from())
		batch.Add(a, err)
		if err == nil {
			a.Println(name)
		}
	}
	return batch.Err()
}

func startAttached(ctx context.Context, a *app.App, o *startOptions, names []string) error {
	if len(names) > 1 {
		return errors.New("you cannot start and attach multiple containers at once")
	}
	if err := terminal.CheckDetachKeys(o.detachKeys); err != nil {
		return err
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	got, err := conn.ContainerInspect(ctx, names[0], client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	c := got.Container
	if c.Config == nil || c.HostConfig == nil {
		return errors.New("the daemon's answer lacks the container's configuration")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdin := o.interactive && c.Config.OpenStdin
	s, err := follow.Attach(ctx, a, conn, c.ID, follow.Streams{
		Stdin: stdin, Stdout: true, Stderr: true, TTY: c.Config.Tty, DetachKeys: a.DetachKeys(o.detachKeys),
	})
	if err != nil {
		return err
	}
	condition := container.WaitConditionNextExit
	if c.HostConfig.AutoRemove {
		condition = container.WaitConditionRemoved
	}
	wait := follow.WaitExit(ctx, conn, c.ID, condition)
	f := follow.Forward(ctx, a, conn, c.ID, nil)
	defer f.Close()
	if _, err := conn.ContainerStart(ctx, c.ID, o.from()); err != nil {
		s.Stream.Close()
		return &app.StatusError{Code: app.ExitFailure, Err: err}
	}
	f.Start()
	if c.Config.Tty {
		follow.TerminalSize(ctx, a, func(h, w uint) error {
			_, err := conn.ContainerResize(ctx, c.ID, client.ContainerResizeOptions{Height: h, Width: w})
			return err
		})
	}
	if err := s.Run(ctx); errors.Is(err, follow.ErrDetached) {
		return nil
	} else if err != nil {
		return err
	}
	code, err := wait.Code()
	if err != nil {
		return err
	}
	return app.Exit(code)
}
