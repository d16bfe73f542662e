package terminal

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/moby/term"
)

// Guard puts one terminal into raw mode and brings it back exactly once,
// however the program ends. The zero value is ready.
type Guard struct {
	mu      sync.Mutex
	fd      uintptr
	saved   *term.State
	foreign bool
	watched chan os.Signal
}

// Raw switches the terminal of in to raw mode. A second call is a no-op.
func (g *Guard) Raw(in *In) error {
	if !in.IsTerminal() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.saved != nil {
		return nil
	}
	saved, err := term.SetRawTerminal(in.FD())
	if err != nil {
		return fmt.Errorf("switch the terminal to raw mode: %w", err)
	}
	g.fd, g.saved = in.FD(), saved
	g.watch()
	return nil
}

// Restore undoes Raw; it is safe to call it at any time, any number of times.
func (g *Guard) Restore() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.saved == nil {
		return
	}
	// Nothing can be done for a terminal that is gone.
	_ = term.RestoreTerminal(g.fd, g.saved)
	g.saved = nil
	signal.Stop(g.watched)
}

// TakeSignals tells the guard that somebody else handles the signals that
// would end the program: a verb that forwards them to a container.
func (g *Guard) TakeSignals() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.foreign = true
}

// OnPanic is deferred in main and in every goroutine that runs while the
// terminal is raw: a panic must not leave the user a dead terminal.
func (g *Guard) OnPanic() {
	if r := recover(); r != nil {
		g.Restore()
		panic(r)
	}
}

// watch restores the terminal before a signal ends the program. SIGPIPE is
// one of them: the output may go into a pipe whose reader has left.
func (g *Guard) watch() {
	deadly := []os.Signal{syscall.SIGPIPE}
	if !g.foreign {
		deadly = append(deadly, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	}
	// A later Raw makes a channel of its own, so that this goroutine, which
	// then waits in vain, cannot take its signals.
	ch := make(chan os.Signal, 1)
	g.watched = ch
	signal.Notify(ch, deadly...)
	go func() {
		s := <-ch
		g.Die(s.(syscall.Signal))
	}()
}

// Die restores the terminal and ends the program by the signal itself, so that
// a shell sees what happened.
func (g *Guard) Die(s syscall.Signal) {
	g.Restore()
	// Go's own end by SIGQUIT prints the stacks of all goroutines.
	if s != syscall.SIGQUIT {
		signal.Reset(s)
		// Delivery is to any thread and takes a moment; a signal that is
		// blocked or ignored never comes, and the exit code has to tell.
		_ = syscall.Kill(os.Getpid(), s)
		time.Sleep(deliveryTime)
	}
	os.Exit(128 + int(s))
}

const deliveryTime = 200 * time.Millisecond
