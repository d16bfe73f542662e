package shell

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

// traps runs what a script asked to run on signals, between its commands as
// POSIX says, and ends the shell on those that nobody trapped.
type traps struct {
	s        *shell
	received chan os.Signal

	mu      sync.Mutex
	set     map[syscall.Signal]string // "" ignores
	pending []syscall.Signal
	wake    chan struct{} // closed when a trapped signal arrives
	cancel  context.CancelFunc
	last    syscall.Signal // what cancelled the latest run
	busy    int            // foreground commands that run now
}

func newTraps(s *shell) *traps {
	t := &traps{s: s, received: make(chan os.Signal, 16), set: map[syscall.Signal]string{}, wake: make(chan struct{}), last: unix.SIGINT}
	switch {
	case s.interactive:
		signal.Notify(t.received, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
		if s.jobs.control {
			signal.Notify(t.received, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
		}
	case os.Getpid() == 1:
		// The kernel gives pid 1 no default action, so it is here.
		signal.Notify(t.received, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
	}
	go t.listen()
	return t
}

func (t *traps) listen() {
	for sig := range t.received {
		t.handle(sig.(syscall.Signal))
	}
}

func (t *traps) handle(sig syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, trapped := t.set[sig]; trapped {
		t.pending = append(t.pending, sig)
		close(t.wake)
		t.wake = make(chan struct{})
		return
	}
	switch sig {
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return // meant for the jobs
	case unix.SIGINT, unix.SIGQUIT:
		if !t.s.interactive {
			t.s.end(statusSignalled + int(sig))
		}
		// A command in the foreground got it too, and decides.
		if t.busy == 0 && t.cancel != nil && sig == unix.SIGINT {
			t.last = sig
			t.cancel()
		}
	default:
		t.s.end(statusSignalled + int(sig))
	}
}

// begin makes the context of one line or script; Ctrl-C cancels it.
func (t *traps) begin() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancel = cancel
	return ctx, func() {
		// Not cancelled: its background commands live on.
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cancel = nil
	}
}

// interrupted ends the line whose command was killed by Ctrl-C.
func (t *traps) interrupted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancel != nil {
		t.last = unix.SIGINT
		t.cancel()
	}
}

func (t *traps) cause() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.last)
}

func (t *traps) running(step int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy += step
}

func (t *traps) arrived() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wake
}

// next returns the callback of a signal that has arrived.
func (t *traps) next() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.pending) > 0 {
		sig := t.pending[0]
		t.pending = t.pending[1:]
		if callback := t.set[sig]; callback != "" {
			return callback, true
		}
	}
	return "", false
}

// check runs the callbacks of signals that have arrived, in the place of the
// command that the handler was called for. err is that command's own result.
func (t *traps) check(ctx context.Context, err error) error {
	for {
		callback, ok := t.next()
		if !ok {
			return err
		}
		hc := interp.HandlerCtx(ctx)
		if trapErr := hc.Builtin(ctx, []string{"eval", callback}); trapErr != nil {
			return trapErr
		}
	}
}

// command is the trap builtin for signals: trap ACTION SIGNAL..., trap -
// SIGNAL..., trap SIGNAL. EXIT and ERR are the interpreter's own.
func (t *traps) command(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	action, names := "-", args
	if len(args) > 0 && args[0] == "--" {
		names = args[1:]
	}
	if len(names) > 1 {
		action, names = names[0], names[1:]
	}
	var own []string
	for _, name := range names {
		sig, ok := parseSignal(name)
		switch {
		case name == "0" || strings.EqualFold(name, "EXIT"):
			own = append(own, "EXIT")
		case strings.EqualFold(name, "ERR"):
			own = append(own, "ERR")
		case !ok:
			fmt.Fprintf(hc.Stderr, "sh: trap: %s: bad signal\n", name)
			return interp.ExitStatus(1)
		default:
			t.trap(sig, action)
		}
	}
	if len(own) == 0 && len(names) > 0 {
		return nil
	}
	if len(names) == 0 {
		t.list(hc)
		return hc.Builtin(ctx, []string{"trap"})
	}
	return hc.Builtin(ctx, append([]string{"trap", action}, own...))
}

func (t *traps) trap(sig syscall.Signal, action string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if action == "-" {
		delete(t.set, sig)
		if !t.s.interactive && os.Getpid() != 1 {
			signal.Reset(sig)
		}
		return
	}
	t.set[sig] = action
	if action == "" {
		signal.Ignore(sig) // commands inherit this
		return
	}
	signal.Notify(t.received, sig)
}

func (t *traps) list(hc interp.HandlerContext) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sig, action := range t.set {
		fmt.Fprintf(hc.Stdout, "trap -- '%s' %s\n", strings.ReplaceAll(action, "'", `'\''`), strings.TrimPrefix(unix.SignalName(sig), "SIG"))
	}
}

// parseSignal reads TERM, SIGTERM and 15.
func parseSignal(name string) (syscall.Signal, bool) {
	const last = 64
	if n, err := strconv.Atoi(name); err == nil {
		return syscall.Signal(n), n >= 1 && n <= last
	}
	name = strings.ToUpper(name)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	return sig, sig != 0
}
