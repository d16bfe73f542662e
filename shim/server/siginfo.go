package server

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

// peek tells whether some child has ended, and leaves it to be reaped.
func (i *siginfo) peek() bool {
	err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(i)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && i.pid != 0
}
