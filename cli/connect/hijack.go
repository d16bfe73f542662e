package connect

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/http1"
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
	Header http1.Header // of the answer
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

// Late is a body that is made while the daemon prepares for the request, of which
// it has the head already.
type Late func() any

// Hijack posts body to an API path and takes the connection over. The client
// library can do this too, but it drops the text of a refusal, and that text
// says why a container or command cannot be attached to.
func (c *Conn) Hijack(ctx context.Context, path string, query url.Values, body any) (*Stream, error) {
	s, apiErr, err := c.tryHijack(ctx, c.versions.current(), path, query, body)
	if apiErr != nil && apiErr.Status == http1.BadRequest && !c.versions.fixed {
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
	req, err := c.hijackRequest(version, path, query, body)
	if err != nil {
		return nil, nil, err
	}
	// A connection kept from an earlier request serves as well as a new one. The
	// handshake can be cancelled; the stream afterwards has its own end.
	l, resp, _, stop, err := c.transport.send(ctx, req)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	var gone *NoDaemonError
	switch {
	case err != nil && (ctx.Err() != nil || errors.As(err, &gone)):
		return nil, nil, err
	case err != nil:
		return nil, nil, fmt.Errorf("open the stream to the daemon: %w", err)
	}
	// 200 is the answer of old daemons, and to clients without Upgrade.
	if resp.Code == http1.SwitchingProtocols || resp.Code == http1.OK {
		return &Stream{Conn: l.Conn, Reader: bufio.NewReaderSize(l.reader, streamBuffer), Header: resp.Header}, nil, nil
	}
	defer l.Close()
	return nil, refusal(resp), nil
}

func (c *Conn) hijackRequest(version, path string, query url.Values, body any) (*http1.Request, error) {
	req := &http1.Request{Method: http1.Post, Host: c.httpHost(), Target: client.Target(c.basePath+"/v"+version+path, query), Body: []byte{}, Header: http1.Header{}}
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
		contentType = "text/plain"
	case Late:
		req.Late = func() ([]byte, error) { return json.Marshal(b()) }
	default:
		var err error
		if req.Body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	for k, v := range c.headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("User-Agent", userAgent())
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	return req, nil
}

func refusal(resp *http1.Response) *client.StatusError {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		text = nil
	}
	return client.NewStatusError(resp, text)
}
