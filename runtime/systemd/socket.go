package systemd

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a UNIX stream socket with a deadline. Package net would do as well, but
// nothing else in a container's shim needs it.
type socket struct {
	fd  int
	ctx context.Context //nolint:containedctx // of the one operation that the connection is made for
}

func connect(ctx context.Context, path string) (_ *socket, retErr error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd, ctx: ctx}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		// EAGAIN: the queue of the listener is full.
		if err == unix.EAGAIN && s.pause() == nil || err == unix.EINTR {
			continue
		}
		if err != nil {
			s.Close()
			return nil, &os.PathError{Op: "connect to", Path: path, Err: err}
		}
		return s, nil
	}
}

func (s *socket) pause() error {
	select {
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

// slice is how long one poll may sleep before it looks whether the operation was
// given up.
const slice = time.Second

// ready waits until the socket can be read or written.
func (s *socket) ready(events int16) error {
	for {
		wait := slice
		if deadline, ok := s.ctx.Deadline(); ok {
			wait = min(wait, time.Until(deadline))
		}
		if s.ctx.Err() != nil || wait <= 0 {
			return os.ErrDeadlineExceeded
		}
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
		n, err := unix.Poll(fds, int(wait/time.Millisecond)+1)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if n > 0 {
			return nil
		}
	}
}

func (s *socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case err == unix.EAGAIN:
			if err := s.ready(unix.POLLIN); err != nil {
				return 0, err
			}
		case err == unix.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s *socket) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		// Without a SIGPIPE: we are somebody's supervisor.
		n, err := unix.SendmsgN(s.fd, b[done:], nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case err == unix.EAGAIN:
			if err := s.ready(unix.POLLOUT); err != nil {
				return done, err
			}
		case err == unix.EINTR:
		case err != nil:
			return done, os.NewSyscallError("write", err)
		default:
			done += n
		}
	}
	return done, nil
}

func (s *socket) Close() error { return unix.Close(s.fd) }
