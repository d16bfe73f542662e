// Package pidfd works on processes by descriptor. A descriptor, unlike a number,
// never comes to mean another process (Linux 5.3; waitid 5.4).
//
// Files returned here are close-on-exec and belong to the caller.
package pidfd

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Open returns a descriptor of the process with that number. Whether it is the
// process meant must be checked afterwards; for a child of the caller that has
// not been reaped it always is. The error matches os.ErrProcessDone if there is none.
func Open(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Signal sends a signal. The error matches os.ErrProcessDone if the process has ended.
func Signal(p *os.File, sig syscall.Signal) error {
	err := unix.PidfdSendSignal(int(p.Fd()), sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("send signal %d: %w", int(sig), err)
	}
	return nil
}

// Ended reports whether the process has ended within d, which may be 0; a
// negative d waits for ever. It works for any process, not only for children, and
// reaps nothing.
func Ended(p *os.File, d time.Duration) (bool, error) {
	deadline := time.Now().Add(d)
	for {
		wait := -1
		if d >= 0 {
			wait = int(max(0, time.Until(deadline)).Milliseconds())
		}
		fds := []unix.PollFd{{Fd: int32(p.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, wait)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("wait for a process: %w", err)
		}
		return n > 0, nil
	}
}

// Mounts opens the mount namespace of a process, as a descriptor, or returns -1 where
// there is none any more or the kernel cannot (before 6.11, ioctl_pidfd(2)). Whoever
// leaves a mount namespace last takes its file systems down, which needs as long as the
// removal of all of a container's control groups: a holder of it can do that beside them,
// where the process would do it before its end is told.
func Mounts(pidfd *os.File) int {
	ns, err := unix.IoctlRetInt(int(pidfd.Fd()), unix.PIDFD_GET_MNT_NAMESPACE)
	if err != nil {
		return -1
	}
	return ns
}
