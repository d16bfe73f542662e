package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/fdpass"
)

// checkTerminal finds out early whether the terminal has somewhere to go.
func (o *launchOptions) checkTerminal(p *specs.Process) error {
	terminal := p != nil && p.Terminal
	switch {
	case terminal && o.detach && o.console == "":
		return fault.New(fault.Invalid, "process.terminal is set, but nobody would hold the terminal of a detached container; give --console-socket, or set terminal to false")
	case terminal && o.console == "" && ourTerminal() == nil:
		return fault.New(fault.Invalid, "process.terminal is set, but standard input, output and error are no terminal; give --console-socket, or set terminal to false")
	case !terminal && o.console != "":
		return fault.New(fault.Invalid, "--console-socket is given, but the process has no terminal; set process.terminal (or --tty), or leave the option out")
	}
	return nil
}

// ourTerminal returns the terminal we were called from, or nil.
func ourTerminal() *os.File {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return f
		}
	}
	return nil
}

// sendConsole hands the master of the terminal to whoever listens at the console
// socket, as runc does: its name as data, with the descriptor.
func (o *launchOptions) sendConsole(master *os.File) error {
	if o.console == "" {
		return nil
	}
	if master == nil {
		return fmt.Errorf("send the terminal to %s: the launch made none", o.console)
	}
	name := master.Name()
	if name == "" {
		name = "/dev/ptmx"
	}
	if err := sendTo(o.console, name, master); err != nil {
		return fmt.Errorf("send the terminal: %w", err)
	}
	return master.Close()
}

// sendTo connects to a UNIX socket and sends a descriptor with a name.
func sendTo(socket, name string, f *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connect to %s: %w", socket, err)
	}
	return fdpass.Send(fd, []byte(name), f)
}

// session joins our terminal with the container's.
type session struct {
	ours    *os.File
	before  *unix.Termios
	console *os.File
	drained chan struct{}
}

// attach puts our terminal into raw mode and copies both ways until the container
// closes its side. end must be called on every way out.
func attach(console *os.File) (*session, error) {
	s := &session{ours: ourTerminal(), console: console, drained: make(chan struct{})}
	if s.ours == nil {
		return nil, fault.New(fault.Invalid, "standard input, output and error are no terminal")
	}
	termios, err := unix.IoctlGetTermios(int(s.ours.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the mode of the terminal: %w", err)
	}
	raw := *termios
	// As cfmakeraw(3), with the output processing that the container's terminal
	// has done already switched off too.
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(s.ours.Fd()), unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("set the mode of the terminal: %w", err)
	}
	s.before = termios
	s.resize()
	go func() {
		defer close(s.drained)
		_, _ = io.Copy(os.Stdout, console) // ends with EIO when the last slave is closed
	}()
	go func() { _, _ = io.Copy(console, os.Stdin) }() // ends with us
	return s, nil
}

// resize gives the container's terminal the size of ours.
func (s *session) resize() {
	size, err := unix.IoctlGetWinsize(int(s.ours.Fd()), unix.TIOCGWINSZ)
	if err == nil {
		_ = unix.IoctlSetWinsize(int(s.console.Fd()), unix.TIOCSWINSZ, size)
	}
}

// drainTime bounds how long output is waited for when something still holds the
// terminal open after the first process has ended.
const drainTime = 500 * time.Millisecond

// finish is for when the first process has ended: what it wrote is still copied.
func (s *session) finish() {
	select {
	case <-s.drained:
	case <-time.After(drainTime):
	}
	s.end()
}

// end restores our terminal.
func (s *session) end() {
	_ = unix.IoctlSetTermios(int(s.ours.Fd()), unix.TCSETSW, s.before)
	s.console.Close()
}
