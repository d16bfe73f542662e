package follow

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
	"github.com/sampan-containers/sampan/cli/format"
)

// queuedSignals is how many may arrive while one is being sent.
const queuedSignals = 32

// Forwarder passes signals on to a container.
type Forwarder struct {
	*Taken
	app     *app.App
	conn    *connect.Conn
	id      string
	started chan struct{}
	stop    chan struct{}
	// early: the container exists and may not have been started yet, so that a
	// signal may come too soon for it.
	early   bool
	nothing atomic.Bool
}

// Taken are the signals that would end this program, for it to pass on.
type Taken struct {
	signals chan os.Signal
	ready   chan struct{} // closed when they are taken
}

// TakeSignals begins to take the two that matter most; each takes the runtime a
// twentieth of a millisecond, in which a request can be prepared. The others follow
// by rest.
func TakeSignals(a *app.App) *Taken {
	t := &Taken{signals: make(chan os.Signal, queuedSignals), ready: make(chan struct{})}
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

// Wait returns when the first two are taken.
func (t *Taken) Wait() { <-t.ready }

// rest takes the others.
func (t *Taken) rest() {
	signal.Notify(t.signals, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM)
}

// Forward takes over the signals that would end this program; t is nil or what
// has taken them already. Those that arrive before Start is called wait for it;
// a second one before that ends the program, since there is nothing to forward
// it to.
//
// Stop, continue and terminal signals stay with this program, so that a shell
// can suspend it; SIGWINCH is followed by TerminalSize.
func Forward(ctx context.Context, a *app.App, conn *connect.Conn, id string, t *Taken) *Forwarder {
	if t == nil {
		t = TakeSignals(a)
		t.Wait()
		t.rest()
	}
	f := &Forwarder{Taken: t, app: a, conn: conn, id: id, started: make(chan struct{}), stop: make(chan struct{})}
	go f.loop(ctx)
	return f
}

func (f *Forwarder) loop(ctx context.Context) {
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

// Nothing tells whether there is no container yet, and may not be for long: a
// signal ends the program then.
func (f *Forwarder) Nothing(yet bool) { f.nothing.Store(yet) }

// Start is called once the container runs.
func (f *Forwarder) Start() { close(f.started) }

// Started is Start for a container whose id came with the news that it is being
// started.
func (f *Forwarder) Started(id string) {
	f.id, f.early = id, true
	f.Start()
	time.AfterFunc(restAfter, f.rest)
}

// Close ends the forwarding. The program is about to end, so that nobody needs the
// signals back; that would take as long as to take them.
func (f *Forwarder) Close() { close(f.stop) }

// How often a signal is offered to a container that is being started.
const (
	earlyTries = 100
	earlyPause = 20 * time.Millisecond
)

func (f *Forwarder) send(ctx context.Context, s os.Signal) {
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
		f.app.PrintError(fmt.Errorf("forward %s to container %s: %w", unix.SignalName(s.(syscall.Signal)), format.ID(f.id, false), err))
	}
}
