package connect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/sampan-containers/sampan/cli/client"
)

const (
	// maxErrorBody bounds the explanation of a refused upgrade.
	maxErrorBody = 1 << 20
	// streamBuffer is the read buffer of a hijacked stream: one read of a
	// UNIX socket brings at most about 200 KiB.
	streamBuffer = 64 << 10
)

// Stream is a hijacked connection: raw bytes for a terminal, frames otherwise.
type Stream struct {
	Conn   net.Conn
	Reader *bufio.Reader
	Header http.Header // of the answer
}

// Close ends the stream both ways.
func (s *Stream) Close() error { return s.Conn.Close() }

// CloseWrite tells the other side that no more input comes.
func (s *Stream) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Hijack posts body to an API path and takes the connection over. The client
// library can do this too, but it drops the text of a refusal, and that text
// says why a container or command cannot be attached to.
func (c *Conn) Hijack(ctx context.Context, path string, query url.Values, body any) (*Stream, error) {
	s, apiErr, err := c.tryHijack(ctx, c.versions.current(), path, query, body)
	if apiErr != nil && apiErr.Status == http.StatusBadRequest && !c.versions.fixed {
		if wanted := wantedVersion(apiErr.Message); wanted != "" {
			c.versions.lowered.Store(&wanted)
			s, apiErr, err = c.tryHijack(ctx, wanted, path, query, body)
		}
	}
	if err == nil && apiErr != nil {
		err = apiErr
	}
	return s, err
}

func (c *Conn) tryHijack(ctx context.Context, version, path string, query url.Values, body any) (*Stream, *client.StatusError, error) {
	req, err := c.hijackRequest(ctx, version, path, query, body)
	if err != nil {
		return nil, nil, err
	}
	l, resp, err := c.takeOver(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	// 200 is the answer of old daemons, and to clients without Upgrade.
	if resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode == http.StatusOK {
		return &Stream{Conn: l.Conn, Reader: bufio.NewReaderSize(l.reader, streamBuffer), Header: resp.Header}, nil, nil
	}
	defer l.Close()
	return nil, refusal(resp), nil
}

func (c *Conn) hijackRequest(ctx context.Context, version, path string, query url.Values, body any) (*http.Request, error) {
	payload, contentType := []byte(nil), "text/plain"
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		contentType = "application/json"
	}
	u := &url.URL{Path: c.basePath + "/v" + version + path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	req.Host = c.httpHost()
	req.URL.Host = req.Host
	for k, v := range c.headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("User-Agent", userAgent())
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	return req, nil
}

// takeOver sends req and reads the head of the answer. A connection kept from an
// earlier request serves, unless the daemon has closed it.
func (c *Conn) takeOver(ctx context.Context, req *http.Request) (*link, *http.Response, error) {
	l, err := c.transport.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.handshake(ctx, l, req)
	if err != nil && l.used && stale(err) && ctx.Err() == nil {
		if req.Body, err = req.GetBody(); err != nil {
			return nil, nil, err
		}
		if l, err = c.transport.connect(ctx); err != nil {
			return nil, nil, err
		}
		resp, err = c.handshake(ctx, l, req)
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("open the stream to the daemon: %w", err)
	}
	return l, resp, err
}

// handshake can be cancelled; the stream afterwards has its own end.
func (c *Conn) handshake(ctx context.Context, l *link, req *http.Request) (*http.Response, error) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	resp, err := func() (*http.Response, error) {
		if err := req.Write(l); err != nil {
			return nil, unsentError{err}
		}
		if first, err := l.reader.Peek(1); err != nil && len(first) == 0 {
			return nil, unsentError{err}
		}
		return http.ReadResponse(l.reader, req)
	}()
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil {
		l.Close()
	}
	return resp, err
}

func refusal(resp *http.Response) *client.StatusError {
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil && !errors.Is(err, io.EOF) {
		text = nil
	}
	return client.NewStatusError(resp, text)
}
