package container

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

// session copies bytes between the user and a hijacked stream.
type session struct {
	app    *app.App
	stream *connect.Stream
	tty    bool
	// stdin is nil if the process gets no input from here; stdout and stderr
	// are nil if they are not wanted.
	stdin          io.Reader
	stdout, stderr io.Writer
	detachKeys     string
	// ended: a last frame told of the exit code.
	ended bool
	code  int
}

// errDetached ends a session by the detach keys; the process goes on.
var errDetached = errors.New("detached")

// run copies until the process has ended and all its output is here, or the
// user detaches. The terminal is back in its mode when it returns.
func (s *session) run(ctx context.Context) error {
	defer s.app.Term.Restore()
	defer s.stream.Close()
	if s.stdin != nil && s.tty {
		if err := s.app.Term.Raw(s.app.In); err != nil {
			return err
		}
		s.stdin = terminal.Detachable(s.stdin, s.detachKeys)
	}
	if s.stdin == nil && ctx.Done() == nil {
		_ = s.stream.CloseWrite()
		return s.copyOutput()
	}
	output := make(chan error, 1)
	go func() {
		defer s.app.Term.OnPanic()
		output <- s.copyOutput()
	}()
	input := make(chan error, 1)
	if s.stdin != nil {
		go func() {
			defer s.app.Term.OnPanic()
			input <- s.copyInput()
		}()
	} else {
		// The other side may have ended already; the output side tells.
		_ = s.stream.CloseWrite()
	}
	for {
		select {
		case err := <-output:
			return err
		case err := <-input:
			if errors.Is(err, errDetached) {
				s.app.Term.Restore()
				// The shell's prompt gets a line of its own.
				fmt.Fprintln(s.app.Err)
				return err
			}
			if s.stdout == nil && s.stderr == nil {
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

func (s *session) copyInput() error {
	_, err := io.Copy(s.stream.Conn, s.stdin)
	if terminal.Detached(err) {
		return errDetached
	}
	// Half-close: the process sees end of file, its output still arrives.
	_ = s.stream.CloseWrite()
	return nil
}

func (s *session) copyOutput() error {
	if s.tty {
		_, err := io.Copy(discardNil(s.stdout), s.stream.Reader)
		return err
	}
	err := s.demultiplex(discardNil(s.stdout), discardNil(s.stderr), s.stream.Reader)
	if s.ended && !errors.As(err, new(*streamError)) {
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

// streamError is an error that the daemon sent inside a stream.
type streamError struct{ text string }

func (e *streamError) Error() string { return e.text }

// demultiplex splits a stream without ever holding a whole frame.
func (s *session) demultiplex(stdout, stderr io.Writer, r *bufio.Reader) error {
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
			return &streamError{string(text)}
		case frameEnd:
			var code [4]byte
			if _, err := io.ReadFull(r, code[:]); err != nil || size != int64(len(code)) {
				return errors.Join(errBadEnd, err)
			}
			s.ended, s.code = true, int(binary.BigEndian.Uint32(code[:]))
			// The other side waits for this one's input.
			_ = s.stream.CloseWrite()
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
