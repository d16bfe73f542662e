// Package fdpass sends and receives open files over UNIX sockets (SCM_RIGHTS).
//
// It works on raw descriptors, so that the shim needs neither package net nor
// its pollers. A message is the data together with its files: both arrive in
// one Recv as long as the receiver's buffer is large enough. Descriptors are
// received with close-on-exec, and a message that had to be cut is an error,
// because a lost descriptor would stay unnoticed otherwise.
package fdpass

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// MaxFiles is the kernel's limit for one message (SCM_MAX_FD in net/scm.h).
const MaxFiles = 253

// ErrTruncated reports that data or files of a message did not fit.
var ErrTruncated = errors.New("message was cut: it holds more data or descriptors than the receiver expects")

// Send writes data and the descriptors of files as one message. Data must not
// be empty: a stream socket carries descriptors on a byte of data. On a stream
// socket a short write is completed; the files go with the first byte. With a
// non-blocking socket the error matches unix.EAGAIN as long as nothing was sent.
func Send(fd int, data []byte, files ...*os.File) error {
	if len(data) == 0 {
		return errors.New("send descriptors: a message needs at least one byte of data")
	}
	if len(files) > MaxFiles {
		return fmt.Errorf("send descriptors: %d in one message, the kernel's limit is %d", len(files), MaxFiles)
	}
	rights, err := encode(files)
	if err != nil {
		return err
	}
	n, err := sendmsg(fd, data, rights)
	runtime.KeepAlive(files)
	if err != nil {
		return fmt.Errorf("send %d bytes and %d descriptors: %w", len(data), len(files), err)
	}
	for n < len(data) {
		m, err := sendmsg(fd, data[n:], nil)
		if errors.Is(err, unix.EAGAIN) {
			// The head of the message is gone already, so waiting is the only
			// way to keep the stream in order.
			if err = waitWritable(fd); err == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("send the rest of a message (%d of %d bytes): %w", len(data)-n, len(data), err)
		}
		n += m
	}
	return nil
}

// Recv reads one message into buf with at most maxFiles descriptors. At the end
// of the stream the error is io.EOF. When a message does not fit, every
// descriptor received is closed and the error matches ErrTruncated.
func Recv(fd int, buf []byte, maxFiles int) (n int, files []*os.File, err error) {
	if maxFiles < 0 || maxFiles > MaxFiles {
		return 0, nil, fmt.Errorf("receive descriptors: a limit of %d is not between 0 and %d", maxFiles, MaxFiles)
	}
	// A control buffer of exactly the wanted size makes the kernel report
	// MSG_CTRUNC instead of installing surplus descriptors. One more is allowed
	// for, since CMSG_SPACE rounds up and would hide an odd surplus otherwise.
	oob := make([]byte, unix.CmsgSpace((maxFiles+1)*4))
	var oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, fmt.Errorf("receive a message: %w", err)
	}
	fds, err := decode(oob[:oobn])
	if err == nil && (flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(fds) > maxFiles) {
		err = ErrTruncated
	}
	if err != nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return 0, nil, fmt.Errorf("receive a message: %w", err)
	}
	if n == 0 && len(fds) == 0 {
		return 0, nil, io.EOF
	}
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "received"))
	}
	return n, files, nil
}

func sendmsg(fd int, data, oob []byte) (int, error) {
	for {
		n, err := unix.SendmsgN(fd, data, oob, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func waitWritable(fd int) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		if _, err := unix.Poll(p, -1); err != unix.EINTR {
			return err
		}
	}
}

// encode builds the control message. Descriptors are read through SyscallConn:
// File.Fd would switch a file of the runtime's poller to blocking mode.
func encode(files []*os.File) ([]byte, error) {
	if len(files) == 0 {
		return nil, nil
	}
	fds := make([]int, 0, len(files))
	for i, f := range files {
		conn, err := f.SyscallConn()
		if err != nil {
			return nil, fmt.Errorf("send descriptor %d of %d: %w", i+1, len(files), err)
		}
		if err := conn.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
			return nil, fmt.Errorf("send descriptor %d of %d (%s): %w", i+1, len(files), f.Name(), err)
		}
	}
	return unix.UnixRights(fds...), nil
}

func decode(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range msgs {
		if msgs[i].Header.Level != unix.SOL_SOCKET || msgs[i].Header.Type != unix.SCM_RIGHTS {
			continue // credentials, when the receiver asked for SO_PASSCRED
		}
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return all, err
		}
		all = append(all, fds...)
	}
	return all, nil
}
