package server

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
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

// StreamWriter buffers a streamed answer and flushes it by itself shortly after
// a write. It is safe for concurrent use.
type StreamWriter struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	rc    *http.ResponseController
	buf   []byte
	timer *time.Timer
	err   error
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
		s.buf = s.buf[:0]
		return s.err
	}
	if len(s.buf) >= streamBuffer {
		return s.flush()
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(flushDelay, s.onTimer)
	}
	return nil
}

func (s *StreamWriter) onTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	// The next write reports the error.
	_ = s.flush()
}

func (s *StreamWriter) flush() error {
	if s.err == nil && len(s.buf) > 0 {
		_, s.err = s.w.Write(s.buf)
		if s.err == nil {
			if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				s.err = err
			}
		}
	}
	s.buf = s.buf[:0]
	return s.err
}

// Flush sends what is buffered.
func (s *StreamWriter) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush()
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
	err := s.flush()
	if s.err == nil {
		s.err = io.ErrClosedPipe
	}
	return err
}

// LazyStream is a streamed answer whose header goes out with the first byte, so
// that an error before it still gets a status of its own. It is safe for
// concurrent use.
type LazyStream struct {
	*StreamWriter
	c           *Call
	contentType string
	once        sync.Once
	started     atomic.Bool
}

// LazyStream prepares a streamed answer.
func (c *Call) LazyStream(contentType string) *LazyStream {
	w := &StreamWriter{w: c.W, rc: http.NewResponseController(c.W)}
	return &LazyStream{StreamWriter: w, c: c, contentType: contentType}
}

// Start sends the header, if it has not gone out yet.
func (l *LazyStream) Start() {
	l.once.Do(func() {
		l.started.Store(true)
		l.c.W.Header().Set("Content-Type", l.contentType)
		l.c.W.WriteHeader(http.StatusOK)
		l.c.Flush()
	})
}

// Started reports whether a status has been sent.
func (l *LazyStream) Started() bool { return l.started.Load() }

// Write starts the answer if need be and appends to it.
func (l *LazyStream) Write(p []byte) (int, error) {
	l.Start()
	return l.StreamWriter.Write(p)
}

// Frame starts the answer if need be and appends a frame to it.
func (l *LazyStream) Frame(stream byte, data []byte) error {
	l.Start()
	return l.StreamWriter.Frame(stream, data)
}
