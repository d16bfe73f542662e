// Package netns makes network namespaces and runs code inside them. A namespace
// is known by a descriptor only and never bound to a path, so it ends with its
// last process or descriptor and nothing is left behind by a crash.
package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const threadPath = "/proc/thread-self/ns/net"

// New makes a namespace and runs inside, on a thread of its own, f (which may be
// nil). A failure of f closes the namespace.
func New(f func() error) (*os.File, error) {
	var ns *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if ns, err = Current(); err != nil || f == nil {
			return err
		}
		return f()
	})
	if err != nil && ns != nil {
		ns.Close()
		return nil, err
	}
	return ns, err
}

// Do runs f on a thread that is in the namespace. Sockets that f opens stay in
// the namespace, and /proc/sys/net is the namespace's.
func Do(ns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// Current returns the calling thread's namespace.
func Current() (*os.File, error) {
	fd, err := unix.Open(threadPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the network namespace of this thread: %w", err)
	}
	return os.NewFile(uintptr(fd), "netns"), nil
}

// onThread runs f locked to a thread and puts the thread back into the
// namespace it came from. A thread that cannot be put back is not unlocked, so
// the Go runtime ends it with the goroutine.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open(threadPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open the network namespace of this thread: %w", err)
			return
		}
		err = f()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		unix.Close(home)
		done <- err
	}()
	return <-done
}
