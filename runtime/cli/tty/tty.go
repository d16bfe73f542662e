// Package tty joins the terminal that a command was called from with that of the
// container.
package tty

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Ours returns the terminal we were called from, or nil: one of the standard streams,
// or where all three lead elsewhere the controlling terminal.
func Ours() *os.File {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return f
		}
	}
	if f, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0); err == nil {
		return f
	}
	return nil
}

// Session joins our terminal with the container's.
type Session struct {
	ours    *os.File
	before  *unix.Termios
	console *os.File
	drained chan struct{}
}

// Attach puts our terminal into raw mode and copies both ways until the container
// closes its side. End must be called on every way out.
func Attach(console *os.File) (*Session, error) {
	s := &Session{ours: Ours(), console: console, drained: make(chan struct{})}
	if s.ours == nil {
		return nil, fault.New(fault.Invalid, "standard input, output and error are no terminal, and there is no controlling one")
	}
	termios, err := unix.IoctlGetTermios(int(s.ours.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the mode of the terminal: %w", err)
	}
	raw := *termios
	// As cfmakeraw(3), but for the output: the container's terminal leaves it to this one
	// what becomes of a line feed.
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(s.ours.Fd()), unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("set the mode of the terminal: %w", err)
	}
	s.before = termios
	s.Resize()
	go func() {
		defer close(s.drained)
		_, _ = io.Copy(os.Stdout, console) // ends with EIO when the last slave is closed
	}()
	go func() { _, _ = io.Copy(console, os.Stdin) }() // ends with us
	return s, nil
}

// Resize gives the container's terminal the size of ours.
func (s *Session) Resize() {
	size, err := unix.IoctlGetWinsize(int(s.ours.Fd()), unix.TIOCGWINSZ)
	if err == nil {
		_ = unix.IoctlSetWinsize(int(s.console.Fd()), unix.TIOCSWINSZ, size)
	}
}

// drainTime bounds how long output is waited for when something still holds the
// terminal open after the first process has ended.
const drainTime = 500 * time.Millisecond

// Finish is for when the first process has ended: what it wrote is still copied.
func (s *Session) Finish() {
	select {
	case <-s.drained:
	case <-time.After(drainTime):
	}
	s.End()
}

// End restores our terminal.
func (s *Session) End() {
	_ = unix.IoctlSetTermios(int(s.ours.Fd()), unix.TCSETSW, s.before)
	s.console.Close()
}
