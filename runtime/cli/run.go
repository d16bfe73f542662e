package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cgroup"
)

func runCommand(c *call) (int, error) {
	var o launchOptions
	args, err := c.parse(append(o.flags(),
		flag{names: "detach d", set: &o.detach, about: "return when the program runs"},
		flag{names: "keep", set: &o.keep, about: "do not delete the container after its end"},
		flag{names: "no-subreaper", set: &o.subreaper, about: "accepted; orphans of a container are never reaped here"},
	), 1, 1)
	if err != nil {
		return 0, err
	}
	var signals chan os.Signal
	if !o.detach {
		// From here on a signal is for the container.
		signals = catch()
	}
	k, ct, err := c.create(args[0], &o, false)
	if err != nil {
		return 0, err
	}
	if o.detach {
		k.close()
		return 0, ct.Close()
	}
	var s *session
	if ct.Console != nil && o.console == "" {
		if s, err = attach(ct.Console); err != nil {
			abandon(ct)
			return 0, errors.Join(err, c.destroy(k, ct.Cgroup))
		}
	}
	k.close() // others may exec, kill and look while it runs
	code := follow(ct.Pid, ct.PidFD, signals, s)
	if o.keep {
		return code, ct.Close()
	}
	if err := k.lock(); err != nil {
		return code, nil // deleted by somebody else
	}
	defer k.close()
	defer ct.Close()
	return code, c.destroy(k, ct.Cgroup)
}

// catch collects the signals that people and supervisors send, before there is a
// container to pass them on to: until then they wait in the channel.
func catch() chan os.Signal {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH)
	return signals
}

// lateSignals is when the other signals are collected, too. Each costs a handshake
// with a thread of the Go runtime; all together would be a tenth of the time that
// a short container takes.
const lateSignals = 50 * time.Millisecond

// catchRest collects all others that may be meant for the container. Not meant for it
// are SIGCHLD and SIGPIPE, and SIGURG, by which the Go runtime preempts its threads.
func catchRest(signals chan os.Signal) {
	const last = 64
	for n := unix.Signal(1); n <= last; n++ {
		switch n {
		case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGKILL, unix.SIGSTOP, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGPROF:
		default:
			signal.Notify(signals, n)
		}
	}
}

// drainTime bounds how long output is waited for when something still holds the
// terminal open after the first process has ended.
const drainTime = 500 * time.Millisecond

// follow passes signals on to a process until it ends, and returns its exit code.
func follow(pid int, pidfd *os.File, signals chan os.Signal, s *session) int {
	rest := time.AfterFunc(lateSignals, func() { catchRest(signals) })
	defer rest.Stop()
	done := make(chan int, 1)
	go func() { done <- reap(pid) }()
	for {
		select {
		case code := <-done:
			signal.Stop(signals)
			if s != nil {
				select {
				case <-s.drained:
				case <-time.After(drainTime):
				}
				s.end()
			}
			return code
		case sig := <-signals:
			if sig == unix.SIGWINCH {
				if s != nil {
					s.resize()
				}
				continue
			}
			_ = unix.PidfdSendSignal(int(pidfd.Fd()), sig.(unix.Signal), nil, 0)
		}
	}
}

// reap waits for a child and returns its exit code.
func reap(pid int) int {
	var status unix.WaitStatus
	for {
		// __WALL: a child has no exit signal until its execve.
		got, err := unix.Wait4(pid, &status, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return exitFailure
		case got == pid && status.Exited():
			return status.ExitStatus()
		case got == pid && status.Signaled():
			return exitSignal + int(status.Signal())
		}
	}
}

// destroy takes away what a container that has ended left: processes, group, record.
func (c *call) destroy(k *container, g *cgroup.Group) error {
	ctx := context.Background() // Kill and Remove have their own limit
	if g != nil {
		if err := g.Kill(ctx); err != nil {
			return err
		}
		if err := g.Remove(ctx); err != nil {
			return err
		}
	}
	if k.Spec != nil && k.Spec.Hooks != nil {
		// Their failure must not keep the container (OCI runtime specification, lifecycle).
		if err := runtime.RunHooks(ctx, "poststop", k.Spec.Hooks.Poststop, k.state(stopped)); err != nil {
			c.log.warn(err.Error())
		}
	}
	return k.remove()
}
