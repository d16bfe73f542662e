package container

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/connect"
)

// queuedSignals is how many may arrive while one is being sent.
const queuedSignals = 32

// forwarder passes signals on to a container.
type forwarder struct {
	app     *app.App
	conn    *connect.Conn
	id      string
	signals chan os.Signal
	started chan struct{}
	stop    chan struct{}
	// early: the container exists and may not have been started yet, so that a
	// signal may come too soon for it.
	early bool
}

// forwardSignals takes over the signals that would end this program. Those
// that arrive before start is called wait for it; a second one before that
// ends the program, since there is nothing to forward it to.
//
// Stop, continue and terminal signals stay with this program, so that a shell
// can suspend it; SIGWINCH is followed by followSize.
func forwardSignals(ctx context.Context, a *app.App, conn *connect.Conn, id string) *forwarder {
	f := &forwarder{app: a, conn: conn, id: id, signals: make(chan os.Signal, queuedSignals), started: make(chan struct{}), stop: make(chan struct{})}
	a.Term.TakeSignals()
	signal.Notify(f.signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM)
	go f.loop(ctx)
	return f
}

func (f *forwarder) loop(ctx context.Context) {
	defer f.app.Term.OnPanic()
	var early []os.Signal
	started := f.started
	for {
		select {
		case s := <-f.signals:
			if started == nil {
				f.send(ctx, s)
			} else if early = append(early, s); len(early) > 1 {
				f.app.Term.Die(s.(syscall.Signal))
			}
		case <-started:
			started = nil
			for _, s := range early {
				f.send(ctx, s)
			}
		case <-f.stop:
			return
		}
	}
}

// start is called once the container runs.
func (f *forwarder) start() { close(f.started) }

// close gives the signals back.
func (f *forwarder) close() {
	signal.Stop(f.signals)
	close(f.stop)
}

// How often a signal is offered to a container that is being started.
const (
	earlyTries = 100
	earlyPause = 20 * time.Millisecond
)

func (f *forwarder) send(ctx context.Context, s os.Signal) {
	var err error
	for try := 0; ; try++ {
		_, err = f.conn.ContainerKill(ctx, f.id, client.ContainerKillOptions{Signal: unix.SignalName(s.(syscall.Signal))})
		if !f.early || !errdefs.IsConflict(err) || try == earlyTries {
			break
		}
		select {
		case <-f.stop:
			return
		case <-time.After(earlyPause):
		}
	}
	f.early = f.early && err != nil // one that took a signal runs
	// A container that has just ended needs no signal.
	if err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
		f.app.PrintError(fmt.Errorf("forward %s to container %s: %w", unix.SignalName(s.(syscall.Signal)), short(f.id), err))
	}
}
