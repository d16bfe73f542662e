package connect

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

const (
	// maxIdle is how many connections of a batch are kept for its next round.
	maxIdle = 8
	// transportBuffer holds the head of an answer and most whole answers.
	transportBuffer = 4 << 10
)

// transport sends requests over HTTP/1.1 and keeps connections for the next
// one. Unlike http.Transport it works in the caller's goroutine: a short
// command would spend more time on waking goroutines than on its requests.
type transport struct {
	dial func(context.Context) (net.Conn, error)
	tls  *tls.Config

	mu   sync.Mutex
	idle []*link
}

// link is one connection to the daemon.
type link struct {
	net.Conn
	reader *bufio.Reader
	used   bool // it has carried a request before
}

func (t *transport) acquire(ctx context.Context) (*link, error) {
	t.mu.Lock()
	if n := len(t.idle); n > 0 {
		l := t.idle[n-1]
		t.idle = t.idle[:n-1]
		t.mu.Unlock()
		return l, nil
	}
	t.mu.Unlock()
	return t.connect(ctx)
}

func (t *transport) connect(ctx context.Context) (*link, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	if t.tls != nil {
		secure := tls.Client(conn, t.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS with the daemon: %w (check --tlscacert, --tlscert and --tlskey)", err)
		}
		conn = secure
	}
	return &link{Conn: conn, reader: bufio.NewReaderSize(conn, transportBuffer)}, nil
}

func (t *transport) release(l *link) {
	l.used = true
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle) < maxIdle {
		t.idle = append(t.idle, l)
		return
	}
	l.Close()
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	l, err := t.acquire(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.exchange(l, req)
	if err == nil || !l.used || !stale(err) || req.Context().Err() != nil || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	// The daemon closed the kept connection, or is another one by now.
	if req.GetBody != nil {
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	if l, err = t.connect(req.Context()); err != nil {
		return nil, err
	}
	return t.exchange(l, req)
}

// unsentError is a request of which the daemon has read nothing, or to which
// it gave no answer although it had kept the connection.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

func stale(err error) bool { return errors.As(err, new(unsentError)) }

// exchange sends req over l and reads the head of the answer. The connection
// belongs to the answer's body from then on.
func (t *transport) exchange(l *link, req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	fail := func(err error) (*http.Response, error) {
		l.Close()
		if !stop() && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	sent := make(chan error, 1)
	if req.Body == nil || req.GetBody != nil {
		if err := req.Write(l); err != nil {
			return fail(unsentError{err})
		}
		sent <- nil
	} else {
		// The daemon may refuse a long stream before its end.
		go func() { sent <- req.Write(l) }()
	}
	first, err := l.reader.Peek(1)
	if err != nil {
		if len(first) == 0 {
			err = unsentError{err}
		}
		return fail(err)
	}
	resp, err := http.ReadResponse(l.reader, req)
	if err != nil {
		if t.tls == nil {
			err = fmt.Errorf("%w (is the daemon's port one for TLS? then use --tls)", err)
		}
		return fail(err)
	}
	a := &answer{ReadCloser: resp.Body, t: t, l: l, ctx: ctx, stop: stop, sent: sent, keep: !resp.Close && !req.Close}
	if resp.Body == http.NoBody {
		a.eof = true
		a.end()
	}
	resp.Body = a
	return resp, nil
}

// answer gives the connection back when it has been read to its end.
type answer struct {
	io.ReadCloser
	t    *transport
	l    *link
	ctx  context.Context // only to tell why a read failed
	stop func() bool
	sent chan error
	keep bool
	once sync.Once
	eof  bool
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		a.eof = true
		a.end()
	case a.ctx.Err() != nil:
		err = a.ctx.Err()
	}
	return n, err
}

// Close ends the answer; what has not been read is lost, with the connection.
func (a *answer) Close() error {
	a.end()
	return nil
}

func (a *answer) end() {
	a.once.Do(func() {
		live := a.stop()
		whole := false
		select {
		case err := <-a.sent:
			whole = err == nil
		default: // still sending
		}
		if live && whole && a.eof && a.keep {
			a.t.release(a.l)
			return
		}
		a.l.Close()
	})
}
