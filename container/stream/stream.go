// Package stream holds what is done with a client's connection before its shim
// has it: looking whether the client is still there, copying the descriptor, and
// framing output in Docker's multiplexed form.
package stream

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// HungUp tells whether the client of a waiting connection has gone.
func HungUp(conn *os.File) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 {
			gone = p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return gone || err != nil
}

// Header is the head of a frame of Docker's multiplexed stream.
func Header(stream string, n int) []byte {
	id := byte(1)
	if stream == "stderr" {
		id = 2
	}
	return []byte{id, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// Duplicate copies a descriptor without making the connection blocking.
func Duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, dupErr := -1, error(nil)
	if err := raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, fmt.Errorf("duplicate the connection: %w", dupErr)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Pair makes a connection whose both ends are ours to give away.
func Pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "stream"), os.NewFile(uintptr(fds[1]), "stream"), nil
}

// Hijack takes over the client's connection: it writes the header of the
// answer and returns the connection's descriptor (owned by the receiver) with
// the bytes of the client that the server had read already. It is called at
// most once, and only when nothing can be refused with an HTTP status any more.
type Hijack func(tty bool) (conn *os.File, initial []byte, err error)
