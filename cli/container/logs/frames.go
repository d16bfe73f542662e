package logs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The header of a frame: the stream, three zero bytes, the length in big endian.
const (
	headerSize  = 8
	toStdout    = 1
	toStderr    = 2
	daemonError = 3

	maxSystemError = 64 << 10
)

// frame reads the header of the next frame; io.EOF is the end.
func frame(r *bufio.Reader) (stream byte, size int64, err error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, 0, err
	}
	size = int64(binary.BigEndian.Uint32(h[4:]))
	switch h[0] {
	case 0, toStdout:
		return toStdout, size, nil
	case toStderr:
		return toStderr, size, nil
	case daemonError:
		text, err := io.ReadAll(io.LimitReader(r, min(size, maxSystemError)))
		if err != nil {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("error from daemon in stream: %s", text)
	}
	return 0, 0, fmt.Errorf("the daemon sent a frame of unknown type %d: the stream cannot be read further", h[0])
}

// copyLines splits a stream. Lines are written together as they come, and at once
// when nothing more is there: one call for each of ten million lines would take
// longer than all the rest. The two outputs stay in order with each other.
func copyLines(stdout *bufio.Writer, stderr io.Writer, r *bufio.Reader) error {
	errs := bufio.NewWriterSize(stderr, logBuffer)
	defer errs.Flush()
	for {
		if r.Buffered() == 0 {
			if err := errors.Join(stdout.Flush(), errs.Flush()); err != nil {
				return err
			}
		}
		stream, size, err := frame(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		to, other := stdout, errs
		if stream == toStderr {
			to, other = errs, stdout
		}
		if other.Buffered() > 0 {
			if err := other.Flush(); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(to, r, size); err != nil {
			return unexpected(err)
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
