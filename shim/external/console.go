package external

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/fdpass"
)

// console is a socket on which a runtime hands over the master of a terminal.
type console struct {
	fd   int
	dir  *os.File
	file string
	// path names the socket through a descriptor of its directory, because a socket's
	// path has at most 107 bytes.
	path string
}

func listenConsole(dir, name string) (_ *console, retErr error) {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	c := &console{fd: -1, dir: d, file: filepath.Join(dir, name+".sock")}
	defer func() {
		if retErr != nil {
			c.close()
		}
	}()
	if c.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return nil, fmt.Errorf("console socket: %w", err)
	}
	c.path = fmt.Sprintf("/proc/%d/fd/%d/%s.sock", os.Getpid(), d.Fd(), name)
	if err := errors.Join(unix.Bind(c.fd, &unix.SockaddrUnix{Name: c.path}), unix.Listen(c.fd, 1)); err != nil {
		return nil, fmt.Errorf("console socket: %w", err)
	}
	return c, nil
}

// receive takes the terminal. The runtime has sent it before it returned, or did not.
func (c *console) receive(size *specs.Box) (*os.File, error) {
	conn, _, err := unix.Accept4(c.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("the runtime did not hand over the terminal: %w", err)
	}
	defer unix.Close(conn)
	var name [256]byte
	_, files, err := fdpass.Recv(conn, name[:], 1)
	if err == nil && len(files) != 1 {
		err = errors.New("its message has no descriptor")
	}
	if err != nil {
		return nil, fmt.Errorf("the runtime did not hand over the terminal: %w", err)
	}
	if size != nil {
		// Runtimes differ in whether they look at the size in the specification.
		_ = unix.IoctlSetWinsize(int(files[0].Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)})
	}
	return files[0], nil
}

func (c *console) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	os.Remove(c.file)
	c.dir.Close()
}
