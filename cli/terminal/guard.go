package terminal

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/moby/term"
)

// Guard puts one terminal into raw mode and brings it back exactly once,
// however the program ends. The zero value is ready.
type Guard struct {
	mu    sync.Mutex
	fd    uintptr
	saved *term.State
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
}

// OnPanic is deferred in main and in every goroutine that runs while the
// terminal is raw: a panic must not leave the user a dead terminal.
func (g *Guard) OnPanic() {
	if r := recover(); r != nil {
		g.Restore()
		panic(r)
	}
}

// OnSignal restores the terminal and ends the program when a signal that would
// end it arrives. Verbs that forward signals to a container take them from
// here with the function that it returns.
func (g *Guard) OnSignal(exit func(code int)) (release func()) {
	ch := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(ch, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-ch:
			g.Restore()
			exit(128 + int(s.(syscall.Signal)))
		case <-done:
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() {
			signal.Stop(ch)
			close(done)
		})
	}
}
