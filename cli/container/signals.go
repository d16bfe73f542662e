package container

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
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
	*taken
	app     *app.App
	conn    *connect.Conn
	id      string
	started chan struct{}
	stop    chan struct{}
	// early: the container exists and may not have been started yet, so that a
	// signal may come too soon for it.
	early bool
	// nothing is made yet, and may not be for long: a signal ends the program.
	nothing atomic.Bool
}

// taken are the signals that would end this program, for it to pass on.
type taken struct {
	signals chan os.Signal
	ready   chan struct{} // closed when they are taken
}

// takeSignals begins to take the two that matter most; each takes the runtime a
// twentieth of a millisecond, in which a request can be prepared. The others follow
// by rest.
func takeSignals(a *app.App) *taken {
	t := &taken{signals: make(chan os.Signal, queuedSignals), ready: make(chan struct{})}
	a.Term.TakeSignals()
	go func() {
		defer close(t.ready)
		signal.Notify(t.signals, syscall.SIGINT, syscall.SIGTERM)
	}()
	return t
}

// restAfter is when a container that has just been started gets the others: many a
// program has ended by then.
const restAfter = 5 * time.Millisecond

// rest takes the others.
func (t *taken) rest() {
	signal.Notify(t.signals, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM)
}

// forwardSignals takes over the signals that would end this program; t is nil or
// what has taken them already. Those
// that arrive before start is called wait for it; a second one before that
// ends the program, since there is nothing to forward it to.
//
// Stop, continue and terminal signals stay with this program, so that a shell
// can suspend it; SIGWINCH is followed by followSize.
func forwardSignals(ctx context.Context, a *app.App, conn *connect.Conn, id string, t *taken) *forwarder {
	if t == nil {
		t = takeSignals(a)
		<-t.ready
		t.rest()
	}
	f := &forwarder{taken: t, app: a, conn: conn, id: id, started: make(chan struct{}), stop: make(chan struct{})}
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
			} else if early = append(early, s); len(early) > 1 || f.nothing.Load() {
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

// close ends the forwarding. The program is about to end, so that nobody needs the
// signals back; that would take as long as to take them.
func (f *forwarder) close() { close(f.stop) }

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
