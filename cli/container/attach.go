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

type attachFlags struct {
	noStdin    bool
	sigProxy   bool
	detachKeys string
}

// NewAttach makes `attach`.
func NewAttach(a *app.App) *cobra.Command {
	var o attachFlags
	cmd := named(&cobra.Command{
		Use:               "attach [OPTIONS] CONTAINER",
		Short:             "Attach the terminal to a running container",
		Args:              app.ExactArgs(1),
		ValidArgsFunction: complete.Containers(a, complete.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			return attachTo(cmd.Context(), a, &o, args[0])
		},
	}, "container attach, attach")
	fs := cmd.Flags()
	fs.BoolVar(&o.noStdin, "no-stdin", false, "Do not attach STDIN")
	fs.BoolVar(&o.sigProxy, "sig-proxy", true, "Forward signals to the process")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach from the container")
	return cmd
}

func attachTo(ctx context.Context, a *app.App, o *attachFlags, name string) error {
	if err := terminal.CheckDetachKeys(o.detachKeys); err != nil {
		return err
	}
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	got, err := conn.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	c := got.Container
	if err := attachable(&c); err != nil {
		return err
	}
	stdin := !o.noStdin && c.Config.OpenStdin
	if err := follow.CheckTTY(a, stdin, c.Config.Tty); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wait := follow.WaitExit(ctx, conn, c.ID, container.WaitConditionNotRunning)
	s, err := follow.Attach(ctx, a, conn, c.ID, follow.Streams{
		Stdin: stdin, Stdout: true, Stderr: true, TTY: c.Config.Tty, DetachKeys: a.DetachKeys(o.detachKeys),
	})
	if err != nil {
		return err
	}
	// With a terminal, keys such as ctrl-C reach the process through it.
	if o.sigProxy && !c.Config.Tty {
		f := follow.Forward(ctx, a, conn, c.ID, nil)
		f.Start()
		defer f.Close()
	}
	if c.Config.Tty {
		redraw(ctx, a, func(h, w uint) error {
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

func attachable(c *container.InspectResponse) error {
	switch {
	case c.State == nil || c.Config == nil:
		return errors.New("the daemon's answer lacks the container's state")
	case !c.State.Running:
		return errors.New("cannot attach to a stopped container, start it first")
	case c.State.Paused:
		return errors.New("cannot attach to a paused container, unpause it first")
	case c.State.Restarting:
		return errors.New("cannot attach to a restarting container, wait until it is running")
	}
	return nil
}

// redraw makes the program in the terminal draw itself anew: it does so when
// the size changes, so the first size sent is a row and a column off.
func redraw(ctx context.Context, a *app.App, send func(height, width uint) error) {
	if h, w := a.Out.Size(); h > 0 && w > 0 {
		// Only cosmetic, and TerminalSize reports nothing either.
		_ = send(h+1, w+1)
	}
	follow.TerminalSize(ctx, a, send)
}
