// Package follow is what the verbs share that stay with a running process (run,
// attach, start -a, exec): the bytes between terminal and stream, the exit code
// (also across a restart of the daemon), the terminal's size, and the signals
// that are passed on.
package follow

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// Session copies bytes between the user and a hijacked stream.
type Session struct {
	App    *app.App
	Stream *connect.Stream
	TTY    bool
	// Stdin is nil if the process gets no input from here; Stdout and Stderr
	// are nil if they are not wanted.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	DetachKeys     string
	// ended: a last frame told of the exit code.
	ended bool
	code  int
}

// ErrDetached ends a session by the detach keys; the process goes on.
var ErrDetached = errors.New("detached")

// Run copies until the process has ended and all its output is here, or the
// user detaches. The terminal is back in its mode when it returns.
func (s *Session) Run(ctx context.Context) error {
	defer s.App.Term.Restore()
	defer s.Stream.Close()
	if s.Stdin != nil && s.TTY {
		if err := s.App.Term.Raw(s.App.In); err != nil {
			return err
		}
		s.Stdin = terminal.Detachable(s.Stdin, s.DetachKeys)
	}
	if s.Stdin == nil && ctx.Done() == nil {
		_ = s.Stream.CloseWrite()
		return s.copyOutput()
	}
	output := make(chan error, 1)
	go func() {
		defer s.App.Term.OnPanic()
		output <- s.copyOutput()
	}()
	input := make(chan error, 1)
	if s.Stdin != nil {
		go func() {
			defer s.App.Term.OnPanic()
			input <- s.copyInput()
		}()
	} else {
		// The other side may have ended already; the output side tells.
		_ = s.Stream.CloseWrite()
	}
	for {
		select {
		case err := <-output:
			return err
		case err := <-input:
			if errors.Is(err, ErrDetached) {
				s.App.Term.Restore()
				// The shell's prompt gets a line of its own.
				fmt.Fprintln(s.App.Err)
				return err
			}
			if s.Stdout == nil && s.Stderr == nil {
				return err
			}
			// The end of the input is not the end of the process; an error
			// while writing shows on the output side as well.
			input = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ExitCode is what a last frame of the stream told, if one did.
func (s *Session) ExitCode() (code int, told bool) { return s.code, s.ended }

func (s *Session) copyInput() error {
	_, err := io.Copy(s.Stream.Conn, s.Stdin)
	if terminal.Detached(err) {
		return ErrDetached
	}
	// Half-close: the process sees end of file, its output still arrives.
	_ = s.Stream.CloseWrite()
	return nil
}

func (s *Session) copyOutput() error {
	if s.TTY {
		_, err := io.Copy(discardNil(s.Stdout), s.Stream.Reader)
		return err
	}
	err := s.demultiplex(discardNil(s.Stdout), discardNil(s.Stderr), s.Stream.Reader)
	if s.ended && !errors.As(err, new(*StreamError)) {
		return nil // what breaks after the last frame has nothing to say
	}
	return err
}

func discardNil(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// Frames of a multiplexed stream: type, three zero bytes, big-endian length.
const (
	frameHeader = 8
	frameStdin  = 0
	frameStdout = 1
	frameStderr = 2
	frameSystem = 3
	frameEnd    = 4 // Sampan's own: the exit code, four bytes
	// maxSystemError bounds an error text that is sent inside a stream.
	maxSystemError = 64 << 10
)

var errBadEnd = errors.New("the daemon sent an exit code that cannot be read")

// StreamError is an error that the daemon sent inside a stream.
type StreamError struct{ text string }

func (e *StreamError) Error() string { return e.text }

// demultiplex splits a stream without ever holding a whole frame.
func (s *Session) demultiplex(stdout, stderr io.Writer, r *bufio.Reader) error {
	var header [frameHeader]byte
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		size := int64(binary.BigEndian.Uint32(header[4:]))
		var w io.Writer
		switch header[0] {
		case frameStdin, frameStdout:
			w = stdout
		case frameStderr:
			w = stderr
		case frameSystem:
			text, err := io.ReadAll(io.LimitReader(r, min(size, maxSystemError)))
			if err != nil {
				return err
			}
			return &StreamError{string(text)}
		case frameEnd:
			var code [4]byte
			if _, err := io.ReadFull(r, code[:]); err != nil || size != int64(len(code)) {
				return errors.Join(errBadEnd, err)
			}
			s.ended, s.code = true, int(binary.BigEndian.Uint32(code[:]))
			// The other side waits for this one's input.
			_ = s.Stream.CloseWrite()
			continue
		default:
			return fmt.Errorf("the daemon sent a frame of unknown type %d: the stream cannot be read further", header[0])
		}
		if err := copyFrame(w, r, size); err != nil {
			return err
		}
	}
}

func copyFrame(w io.Writer, r *bufio.Reader, size int64) error {
	for size > 0 {
		if r.Buffered() == 0 {
			if _, err := r.Peek(1); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		chunk, err := r.Peek(int(min(size, int64(r.Buffered()))))
		if err != nil {
			return err
		}
		if _, err := w.Write(chunk); err != nil {
			return err
		}
		if _, err := r.Discard(len(chunk)); err != nil {
			return err
		}
		size -= int64(len(chunk))
	}
	return nil
}
