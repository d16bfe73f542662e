// Package client is the client's side of the Engine API: a method per route,
// with the types of github.com/moby/moby/api on the wire.
//
// It replaces the official client library, whose packages cost every command
// 1.3 ms of start-up (regular expressions for image references, tracing, an
// HTTP client with goroutines for each connection); a whole `ps` takes less.
// The names are the library's, so what is known of it is true here.
//
// A Client sends nothing by itself: New takes the Transport that reaches the
// daemon. Methods are safe for concurrent use.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strings"

	"github.com/sampan-containers/sampan/cli/http1"
)

const (
	// MaxAPIVersion is the newest API version that the types describe.
	MaxAPIVersion = "1.56"
	// DummyHost is the Host header where the address is no host name.
	DummyHost = "api.moby.localhost"

	// maxErrorBody bounds the daemon's explanation of an error.
	maxErrorBody = 1 << 20
	// maxDrain bounds what is read to the end to keep a connection usable.
	maxDrain = 512
)

// Transport sends a request and returns the answer, whose body the caller closes.
type Transport interface {
	RoundTrip(context.Context, *http1.Request) (*Response, error)
}

// Response is an answer that holds on to its connection until it is closed.
type Response struct {
	*http1.Response
	Body io.ReadCloser
}

// Options say how requests look; see New.
type Options struct {
	Host      string // the Host header
	BasePath  string // what comes before /v1.xx
	Version   string // API version of the paths; a transport may lower it
	Headers   map[string]string
	UserAgent string
}

// Client makes requests of the Engine API.
type Client struct {
	transport Transport
	options   Options
}

// New makes a client that sends its requests through transport.
func New(transport Transport, o Options) *Client {
	return &Client{transport: transport, options: o}
}

// request is one call. Body is nil, an io.Reader, or a value sent as JSON.
type request struct {
	method, path string
	query        url.Values
	header       http1.Header
	body         any
	unversioned  bool
}

// do sends r and turns an error status into an error with the daemon's words.
// The caller closes the body of the response.
func (c *Client) do(ctx context.Context, r request) (*Response, error) {
	req, err := c.request(r)
	if err != nil {
		return nil, fmt.Errorf("encode the request %s %s: %w", r.method, r.path, err)
	}
	resp, err := c.transport.RoundTrip(ctx, req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, connectionError{err}
	}
	if err := statusError(req, resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func (c *Client) request(r request) (*http1.Request, error) {
	prefix := c.options.BasePath
	if !r.unversioned {
		prefix += "/v" + c.options.Version
	}
	req := &http1.Request{Method: r.method, Host: c.options.Host, Target: Target(prefix+r.path, r.query), Header: http1.Header{}}
	for k, v := range c.options.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("User-Agent", c.options.UserAgent)
	switch b := r.body.(type) {
	case nil:
	case io.Reader:
		req.Stream = b
	default:
		if v := reflect.ValueOf(b); v.Kind() == reflect.Pointer && v.IsNil() {
			break
		}
		text, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		req.Body = text
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	return req, nil
}

// Target is a path and a query as they stand in a request.
func Target(path string, query url.Values) string {
	target := (&url.URL{Path: path}).EscapedPath()
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return target
}

// finish reads the little that may be left, so that the connection can be used
// again, and closes.
func finish(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	body.Close()
}

// send is a call whose answer has no content.
func (c *Client) send(ctx context.Context, r request) error {
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	finish(resp.Body)
	return nil
}

// fetch is a call whose answer is one JSON value.
func fetch[T any](ctx context.Context, c *Client, r request) (T, error) {
	var out T
	resp, err := c.do(ctx, r)
	if err != nil {
		return out, err
	}
	defer finish(resp.Body)
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)
	}
	return out, nil
}

// fetchRaw is fetch that also returns the text, for `inspect`.
func fetchRaw[T any](ctx context.Context, c *Client, r request) (T, json.RawMessage, error) {
	var out T
	resp, err := c.do(ctx, r)
	if err != nil {
		return out, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return out, nil, fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, nil, fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)
	}
	return out, text, nil
}

// stream is a call whose answer is read by the caller, who closes it.
func (c *Client) stream(ctx context.Context, r request) (io.ReadCloser, error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func get(path string, query url.Values) request {
	return request{method: http1.Get, path: path, query: query}
}

func post(path string, query url.Values, body any) request {
	return request{method: http1.Post, path: path, query: query, body: body}
}

func head(path string, query url.Values) request {
	return request{method: http1.Head, path: path, query: query}
}

func del(path string, query url.Values) request {
	return request{method: http1.Delete, path: path, query: query}
}

// emptyName is a name or id with nothing in it: it must never become the path
// of another route.
type emptyName string

func (e emptyName) Error() string     { return "invalid " + string(e) + " name or ID: value is empty" }
func (e emptyName) InvalidParameter() {}

func checked(kind, name string) (string, error) {
	if name = strings.TrimSpace(name); name == "" {
		return "", emptyName(kind)
	}
	return name, nil
}

// connectionError is the failure to reach the daemon or to get its answer.
type connectionError struct{ error }

func (e connectionError) Unwrap() error { return e.error }

// IsErrConnectionFailed tells whether err means that no answer came.
func IsErrConnectionFailed(err error) bool { return errors.As(err, new(connectionError)) }
