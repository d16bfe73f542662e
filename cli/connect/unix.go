package connect

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// localConn is a connection to a UNIX socket whose reads and writes block their
// thread. A command waits for one answer at a time: the runtime's poller would
// cost it eight system calls and two wakings of threads more. It has no deadlines.
type localConn struct{ *os.File }

// errBusy is a socket whose queue of connections is full.
var errBusy = errors.New("the socket is busy")

// dialLocal connects to a UNIX socket, without ever waiting for it.
func dialLocal(path string) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			return nil, errBusy
		}
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: os.NewSyscallError("connect", err)}
	}
	return localConn{os.NewFile(uintptr(fd), path)}, nil
}

// Close also ends a read that is under way.
func (c localConn) Close() error {
	_ = c.shutdown(unix.SHUT_RDWR) // of a connection that is broken already
	return c.File.Close()
}

// CloseWrite tells the other side that nothing more comes.
func (c localConn) CloseWrite() error { return c.shutdown(unix.SHUT_WR) }

func (c localConn) shutdown(how int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), how) })
	return errors.Join(err, ctlErr)
}

func (c localConn) LocalAddr() net.Addr  { return &net.UnixAddr{Net: "unix"} }
func (c localConn) RemoteAddr() net.Addr { return &net.UnixAddr{Name: c.Name(), Net: "unix"} }

func (c localConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c localConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c localConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
