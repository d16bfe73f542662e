package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/container/follow"
	"github.com/sampan-containers/sampan/cli/container/spec"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/terminal"
)

type runOptions struct {
	createOptions
	detach     bool
	sigProxy   bool
	detachKeys string
}

// NewRun makes `run`.
func NewRun(a *app.App) *cobra.Command {
	var o runOptions
	var flags *spec.Flags
	cmd := named(&cobra.Command{
		Use:               "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create and run a container from an image",
		Args:              app.MinArgs(1),
		ValidArgsFunction: complete.FirstImage(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, &o, flags, args, cmd.CommandPath())
		},
	}, "container run, run")
	fs := cmd.Flags()
	flags = spec.Register(fs)
	o.register(fs)
	fs.BoolVarP(&o.detach, "detach", "d", false, "Run in the background and print the container's id")
	fs.BoolVar(&o.sigProxy, "sig-proxy", true, "Forward signals to the process")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach from the container")
	complete.CreateFlags(a, cmd)
	return cmd
}

func run(ctx context.Context, a *app.App, o *runOptions, flags *spec.Flags, args []string, path string) error {
	req, err := flags.Build(args[0], args[1:])
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return &app.UsageError{Err: fmt.Errorf("%s: %w", a.Name, err), Help: path, Code: app.ExitEngine}
	}
	printWarnings(a, req.Warnings)
	if err := o.streams(a, flags, req); err != nil {
		return err
	}
	direct := o.direct(req)
	var t *follow.Taken
	if direct && !o.detach && o.sigProxy {
		t = follow.TakeSignals(a)
	}
	conn, err := a.Connect()
	if err != nil {
		return engineError(a, err)
	}
	if direct {
		if err := runDirect(ctx, a, conn, o, req, t); !client.NoSuchRoute(err) {
			return err
		}
	}
	id, err := create(ctx, a, conn, &o.createOptions, req)
	if err != nil {
		return engineError(a, err)
	}
	r := &runner{app: a, conn: conn, id: id, options: o, req: req}
	if o.detach {
		return r.background(ctx)
	}
	return r.foreground(ctx)
}

func (o *runOptions) check() error {
	if err := terminal.CheckDetachKeys(o.detachKeys); err != nil {
		return err
	}
	return o.createOptions.check()
}

// streams settles what is attached; Docker's exit code for a conflict is 1.
func (o *runOptions) streams(a *app.App, flags *spec.Flags, req *spec.Request) error {
	c := req.Config
	if o.detach {
		if flags.AttachGiven() {
			return errors.New("conflicting options: cannot specify both --attach and --detach")
		}
		c.AttachStdin, c.AttachStdout, c.AttachStderr, c.StdinOnce = false, false, false, false
		return nil
	}
	if c.Tty {
		height, width := a.Out.Size()
		req.Host.ConsoleSize = [2]uint{height, width}
	}
	return follow.CheckTTY(a, c.AttachStdin, c.Tty)
}

// engineError is an error of the daemon before the process runs.
func engineError(a *app.App, err error) error { return runError(a, app.ExitEngine, err) }

func runError(a *app.App, code int, err error) error {
	return &app.StatusError{Code: code, Err: fmt.Errorf("%s: %w", a.Name, err)}
}

// runner starts a created container and follows it.
type runner struct {
	app     *app.App
	conn    *connect.Conn
	id      string
	options *runOptions
	req     *spec.Request
}

func (r *runner) background(ctx context.Context) error {
	if _, err := r.conn.ContainerStart(ctx, r.id, client.ContainerStartOptions{}); err != nil {
		return r.startFailed(ctx, err)
	}
	r.app.Println(r.id)
	return nil
}

// foreground attaches and registers the wait before the start, so that no
// output and no exit code can be missed.
func (r *runner) foreground(ctx context.Context) error {
	c := r.req.Config
	condition := container.WaitConditionNextExit
	if r.req.Host.AutoRemove {
		condition = container.WaitConditionRemoved
	}
	waitCtx, stopWait := context.WithCancel(ctx)
	defer stopWait()
	// Two requests that need nothing of each other: one round trip.
	waiting := make(chan *follow.Exit, 1)
	go func() {
		defer r.app.Term.OnPanic()
		waiting <- follow.WaitExit(waitCtx, r.conn, r.id, condition)
	}()
	var s *follow.Session
	if c.AttachStdin || c.AttachStdout || c.AttachStderr {
		var err error
		s, err = follow.Attach(ctx, r.app, r.conn, r.id, follow.Streams{
			Stdin: c.AttachStdin, Stdout: c.AttachStdout, Stderr: c.AttachStderr, TTY: c.Tty,
			DetachKeys: r.app.DetachKeys(r.options.detachKeys),
		})
		if err != nil {
			return r.startFailed(ctx, err)
		}
	}
	wait := <-waiting
	if r.options.sigProxy {
		f := follow.Forward(ctx, r.app, r.conn, r.id, nil)
		defer f.Close()
		if err := r.start(ctx, s, wait); err != nil {
			return err
		}
		f.Start()
	} else if err := r.start(ctx, s, wait); err != nil {
		return err
	}
	if s != nil && !c.AttachStdout && !c.AttachStderr {
		// Nothing of it is seen here: as with Docker its ID is told, it gets its input,
		// and its end is not waited for.
		r.app.Println(r.id)
		if err := r.copyStream(ctx, s); !errors.Is(err, follow.ErrDetached) {
			return err
		}
		return nil
	}
	return r.follow(ctx, s, wait)
}

func (r *runner) start(ctx context.Context, s *follow.Session, wait *follow.Exit) error {
	_, err := r.conn.ContainerStart(ctx, r.id, client.ContainerStartOptions{})
	if err == nil {
		return nil
	}
	if s != nil {
		s.Stream.Close()
	}
	failure := r.startFailed(ctx, err)
	if r.req.Host.AutoRemove && !connect.Unreachable(err) {
		// The name must be free again when this program ends.
		wait.AwaitEnd(removeTimeout)
	}
	return failure
}

// removeTimeout bounds the wait for the end of a container that did not start.
const removeTimeout = 10 * time.Second

// startFailed leaves nothing behind of a --rm container that never ran, also
// with a daemon that removes only what has run.
func (r *runner) startFailed(ctx context.Context, err error) error {
	if r.req.Host.AutoRemove && !connect.Unreachable(err) {
		_, rmErr := r.conn.ContainerRemove(ctx, r.id, client.ContainerRemoveOptions{RemoveVolumes: true})
		if rmErr != nil && !errdefs.IsNotFound(rmErr) && !errdefs.IsConflict(rmErr) {
			r.app.PrintError(fmt.Errorf("remove the container that did not start: %w", rmErr))
		}
	}
	return runError(r.app, startFailure(err), err)
}

func (r *runner) follow(ctx context.Context, s *follow.Session, wait *follow.Exit) error {
	if s != nil {
		if r.req.Config.Tty {
			sizes, stop := context.WithCancel(ctx)
			defer stop()
			follow.TerminalSize(sizes, r.app, func(h, w uint) error {
				_, err := r.conn.ContainerResize(sizes, r.id, client.ContainerResizeOptions{Height: h, Width: w})
				return err
			})
		}
		if err := r.copyStream(ctx, s); errors.Is(err, follow.ErrDetached) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return r.waited(wait)
}

// copyStream returns follow.ErrDetached if the user left.
func (r *runner) copyStream(ctx context.Context, s *follow.Session) error {
	err := s.Run(ctx)
	if err != nil && !errors.Is(err, follow.ErrDetached) {
		err = engineError(r.app, fmt.Errorf("the stream of container %s: %w", format.ID(r.id, false), err))
	}
	return err
}

func (r *runner) waited(wait *follow.Exit) error {
	code, err := wait.Code()
	if err != nil {
		return engineError(r.app, err)
	}
	return app.Exit(code)
}
