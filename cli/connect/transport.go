package connect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/http1"
)

const (
	// maxIdle is how many connections of a batch are kept for its next round.
	maxIdle = 8
	// transportBuffer holds the head of an answer and most whole answers.
	transportBuffer = 4 << 10
)

// transport sends requests and keeps connections for the next one. It works in
// the caller's goroutine: a short command would spend more time on waking
// goroutines than on its requests.
type transport struct {
	dial   func(context.Context) (net.Conn, error)
	secure bool

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

// RoundTrip implements client.Transport.
func (t *transport) RoundTrip(ctx context.Context, req *http1.Request) (*client.Response, error) {
	l, resp, sent, stop, err := t.send(ctx, req)
	if err != nil {
		return nil, err
	}
	a := &answer{Reader: resp.Body, t: t, l: l, ctx: ctx, stop: stop, sent: sent, keep: !resp.Close}
	if resp.Empty {
		a.eof = true
		a.end()
	}
	return &client.Response{Response: resp, Body: a}, nil
}

// send makes the exchange, again on a new connection if the daemon has closed the
// kept one, or is another one by now.
func (t *transport) send(ctx context.Context, req *http1.Request) (l *link, resp *http1.Response, sent chan error, stop func() bool, err error) {
	if l, err = t.acquire(ctx); err != nil {
		return nil, nil, nil, nil, err
	}
	resp, sent, stop, err = t.exchange(ctx, l, req)
	if err == nil || !l.used || !errors.As(err, new(unsentError)) || ctx.Err() != nil || req.Stream != nil {
		return l, resp, sent, stop, err
	}
	if l, err = t.connect(ctx); err != nil {
		return nil, nil, nil, nil, err
	}
	resp, sent, stop, err = t.exchange(ctx, l, req)
	return l, resp, sent, stop, err
}

// unsentError is a request of which the daemon has read nothing, or to which
// it gave no answer although it had kept the connection.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// exchange sends req over l and reads the head of the answer. Until stop is
// called, the end of ctx closes the connection; sent tells how the sending went.
func (t *transport) exchange(ctx context.Context, l *link, req *http1.Request) (resp *http1.Response, sent chan error, stop func() bool, err error) {
	stop = context.AfterFunc(ctx, func() { l.Close() })
	sent = make(chan error, 1)
	if req.Stream == nil {
		err = req.Write(l)
		sent <- err
	} else {
		// The daemon may refuse a long stream before its end.
		go func() { sent <- req.Write(l) }()
	}
	if err == nil {
		var first []byte
		if first, err = l.reader.Peek(1); len(first) > 0 {
			resp, err = http1.ReadResponse(l.reader, req.Method)
			if errors.Is(err, http1.ErrMalformed) && !t.secure {
				err = fmt.Errorf("%w (is the daemon's port one for TLS? then use --tls)", err)
			}
		} else if err != nil {
			err = unsentError{err}
		}
	} else {
		err = unsentError{err}
	}
	if err != nil {
		l.Close()
		if !stop() && ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	return resp, sent, stop, err
}

// answer gives the connection back when it has been read to its end.
type answer struct {
	io.Reader
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
	n, err := a.Reader.Read(p)
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
