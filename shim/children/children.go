// Package children tells a shim which of its children has ended without reaping
// it, since some are reported to the daemon and others only collected.
package children

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfo is the head of siginfo_t as waitid fills it (signal(7)).
type siginfo struct {
	signo, errno, code int32
	_                  int32
	pid                int32
	_                  [108]byte
}

// Ended returns the pid of some child that has ended, and leaves it to be reaped.
func Ended() (pid int, ok bool) {
	var i siginfo
	err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&i)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return int(i.pid), err == nil && i.pid != 0
}
