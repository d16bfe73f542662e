package server

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// Streams of a multiplexed answer, in the first byte of a frame's header.
const (
	Stdout    = 1
	Stderr    = 2
	SystemErr = 3 // text of the daemon itself; clients show it as an error
)

const (
	streamBuffer = 32 << 10
	// flushDelay is how long a chunk may wait for more of its kind. It turns
	// thousands of short log lines into a few writes, and nobody sees 5 ms.
	flushDelay = 5 * time.Millisecond
)

// StreamWriter is a streamed answer. Its header goes out with the first byte,
// so that an error before it still gets a status of its own. It buffers, and
// flushes by itself shortly after a write. It is safe for concurrent use.
type StreamWriter struct {
	contentType string

	mu      sync.Mutex
	w       http.ResponseWriter
	rc      *http.ResponseController
	buf     []byte
	timer   *time.Timer
	started bool
	whole   bool
	err     error
}

// StreamWriter prepares a streamed answer.
func (c *Call) StreamWriter(contentType string) *StreamWriter {
	return &StreamWriter{contentType: contentType, w: c.W, rc: http.NewResponseController(c.W)}
}

// Whole says that all of the answer is at hand: nothing goes out before the buffer is
// full or Close comes. The timer that it does without wakes a thread of the daemon,
// which costs as much as reading the last lines of a log.
func (s *StreamWriter) Whole() { s.whole = true }

// Start sends the header, if it has not gone out yet.
func (s *StreamWriter) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.start()
		s.flushHTTP()
	}
}

func (s *StreamWriter) start() {
	s.started = true
	s.w.Header().Set("Content-Type", s.contentType)
	s.w.WriteHeader(http.StatusOK)
}

// Started reports whether a status has been sent.
func (s *StreamWriter) Started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

// Write appends to the stream. Its error is the connection's.
func (s *StreamWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, p...)
	return len(p), s.written()
}

// Frame appends one frame: Docker's 8 byte header (stream, three zero bytes,
// big-endian length) and data.
func (s *StreamWriter) Frame(stream byte, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = appendFrame(s.buf, stream, data)
	return s.written()
}

func appendFrame(buf []byte, stream byte, data []byte) []byte {
	buf = append(buf, stream, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(data)))
	return append(buf, data...)
}

// written runs after each append with the lock held.
func (s *StreamWriter) written() error {
	if s.err != nil {
		s.buf = nil
		return s.err
	}
	if !s.started {
		s.start()
	}
	if len(s.buf) >= streamBuffer {
		return s.flush()
	}
	if s.timer == nil && !s.whole {
		s.timer = time.AfterFunc(flushDelay, s.onTimer)
	}
	return nil
}

func (s *StreamWriter) onTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		return // Close came first; the answer is no longer ours to touch
	}
	s.timer = nil
	_ = s.flush() // the next write reports the error
}

func (s *StreamWriter) flush() error {
	if s.err == nil && len(s.buf) > 0 {
		if _, s.err = s.w.Write(s.buf); s.err == nil {
			s.flushHTTP()
		}
	}
	s.buf = s.buf[:0]
	return s.err
}

func (s *StreamWriter) flushHTTP() {
	// Recorders in tests cannot flush; what they hold is seen all the same.
	if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.err = err
	}
}

// Close flushes and stops the timer. The handler must call it before it
// returns: afterwards nothing may touch the answer.
func (s *StreamWriter) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	// The end of the answer goes out with it, when the handler returns.
	if s.err == nil && len(s.buf) > 0 {
		_, s.err = s.w.Write(s.buf)
	}
	s.buf = nil
	if err := s.err; err != nil {
		return err
	}
	s.err = io.ErrClosedPipe
	return nil
}
