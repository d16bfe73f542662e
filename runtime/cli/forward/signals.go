// Package forward passes the signals of the calling process on to the first process of a
// container, and waits for that.
package forward

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/cli/tty"
)

// Signals for the container are written into a pipe by a handler of a few
// instructions (signals_*.s). With os/signal each of them would cost two handshakes
// with a thread of the Go runtime, one to switch it on and one to switch it off; for
// seven signals that is a tenth of the time a short container takes. The handlers
// of the Go runtime for all others stay.

// signalPipe is the end that the handler writes to. A handler cannot be given
// anything, so this is global.
var signalPipe int32 = -1

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	lastSignal = 64

	exitSignal = 128 // plus the number of the signal that ended a process
	lost       = 1   // the exit code of a process that is not to be found

	saSiginfo  = 4
	saOnStack  = 0x08000000 // the stack of a goroutine has no room for a handler
	saRestart  = 0x10000000
	saRestorer = 0x04000000
)

// signalHandler and signalReturn are the addresses of the handler and of what it
// returns to; sentHandler takes what a process has sent alone.
func signalHandler() uintptr
func sentHandler() uintptr
func signalReturn() uintptr

// forwarded reports whether a signal is meant for the container. Not meant for it are
// SIGCHLD and SIGPIPE, SIGURG, by which the Go runtime preempts its threads, and what
// only a fault of ours brings.
func forwarded(n unix.Signal) bool {
	switch n {
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGKILL, unix.SIGSTOP, unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGPROF:
		return false
	}
	return n != 32 && n != 33 // the C library's own
}

// Catch collects the signals that are for the container, before there is one to pass
// them on to: until then they wait in the pipe that it returns.
func Catch() (signals int, err error) { return catchBy(signalHandler()) }

// CatchSent is Catch without the signals that the kernel itself sends to the whole process
// group: the container gets those as well.
func CatchSent() (signals int, err error) { return catchBy(sentHandler()) }

func catchBy(handler uintptr) (signals int, err error) {
	if signalPipe >= 0 {
		return -1, errors.New("signals are collected already")
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return -1, fmt.Errorf("make a pipe for signals: %w", err)
	}
	signalPipe = int32(pipe[1])
	action := sigaction{
		handler: handler, flags: saSiginfo | saOnStack | saRestart | saRestorer, restorer: signalReturn(), mask: ^uint64(0),
	}
	for n := unix.Signal(1); n <= lastSignal; n++ {
		if !forwarded(n) {
			continue
		}
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
		if errno != 0 {
			return -1, fmt.Errorf("handle signal %d: %w", n, errno)
		}
	}
	return pipe[0], nil
}

// Follow passes signals on to a process until it ends, and returns its exit code.
func Follow(pid int, pidfd *os.File, signals int, s *tty.Session) int {
	wait := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}, {Fd: int32(signals), Events: unix.POLLIN}}
	for wait[0].Revents == 0 {
		if _, err := unix.Poll(wait, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			break // Reap waits as well
		}
		var got [lastSignal]byte
		n, _ := unix.Read(signals, got[:])
		for _, sig := range got[:max(n, 0)] {
			switch {
			case unix.Signal(sig) != unix.SIGWINCH:
				_ = unix.PidfdSendSignal(int(pidfd.Fd()), unix.Signal(sig), nil, 0)
			case s != nil:
				s.Resize()
			}
		}
	}
	code := Reap(pid)
	if s != nil {
		s.Finish()
	}
	return code
}

// Reap waits for a child and returns its exit code.
func Reap(pid int) int {
	var status unix.WaitStatus
	for {
		// __WALL: a child has no exit signal until its execve.
		got, err := unix.Wait4(pid, &status, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return lost
		case got == pid && status.Exited():
			return status.ExitStatus()
		case got == pid && status.Signaled():
			return exitSignal + int(status.Signal())
		}
	}
}
