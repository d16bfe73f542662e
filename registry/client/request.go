package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/hosts"
)

const maxRedirects = 5

// request is one exchange with an endpoint.
type request struct {
	method string
	path   string   // after /v2/
	url    *url.URL // instead of path: where an answer of this endpoint pointed
	query  url.Values
	header http.Header
	scopes []auth.Scope
	// body opens the body; it is opened again for each try. size is its length.
	body func() (io.ReadCloser, error)
	size int64
	// once forbids a second try after a failure that may pass.
	once bool
	// offline, if not nil, is set to the identity token that the registry gives.
	offline *string
}

// do sends a request until it is answered with something that will not change
// by asking again. The caller closes the body of the answer.
func (c *Client) do(ctx context.Context, e hosts.Endpoint, login auth.Credentials, q *request) (*http.Response, error) {
	for try := 1; ; try++ {
		resp, err := c.try(ctx, e, login, q)
		var pause time.Duration
		switch {
		case err != nil:
			if !passing(ctx, err) {
				return nil, err
			}
		case transient(resp.StatusCode):
			err = answerError(resp)
			pause = retryAfter(resp)
		default:
			return resp, nil
		}
		if q.once || try >= c.tries(e, err) {
			return nil, fault.Wrap(fault.Unavailable, err)
		}
		if err := c.sleep(ctx, try, pause); err != nil {
			return nil, err
		}
	}
}

// tries is how often a request is sent that fails like this. A server that cannot
// be reached at all is tried once more; behind a mirror waits somebody else.
func (c *Client) tries(e hosts.Endpoint, err error) int {
	var dial *net.OpError
	if !errors.As(err, &dial) || dial.Op != "dial" {
		return c.limits.Attempts
	}
	if e.Mirror {
		return 1
	}
	return min(c.limits.Attempts, 2)
}

// sleep waits before the next try.
func (c *Client) sleep(ctx context.Context, try int, asked time.Duration) error {
	d := min(c.limits.Backoff<<min(try-1, 10), c.limits.BackoffMax)
	d = d/2 + rand.N(d/2+1)
	if asked > 0 {
		d = min(asked, c.limits.RetryAfter)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func transient(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// passing tells whether a failure may be gone the next time. One of another
// class than Unavailable, or about certificates, will not.
func passing(ctx context.Context, err error) bool {
	var certificate *tls.CertificateVerificationError
	class := fault.Of(err)
	return ctx.Err() == nil && (class == nil || class == fault.Unavailable) && !errors.As(err, &certificate)
}

// try sends a request once; a challenge and redirects are part of it.
func (c *Client) try(ctx context.Context, e hosts.Endpoint, login auth.Credentials, q *request) (*http.Response, error) {
	scheme := c.scheme(e)
	if q.url != nil {
		scheme = q.url.Scheme
	}
	who := func(scheme string) *auth.Registry {
		return &auth.Registry{Host: e.Host, Plain: scheme == "http", Insecure: e.Insecure, Credentials: login, TokenServers: e.TokenServers, Offline: q.offline}
	}
	authorization := c.tokens.Known(who(scheme), q.scopes)
	resp, scheme, err := c.first(ctx, e, scheme, q, authorization)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized && c.own(e, q) {
		drain(resp)
		do := func(r *http.Request) (*http.Response, error) { return c.plain(r, e.Insecure) }
		authorization, err = c.tokens.Answer(ctx, do, who(scheme), resp.Header.Values("WWW-Authenticate"), q.scopes, authorization)
		if err != nil {
			return nil, err
		}
		if resp, err = c.send(ctx, e, scheme, q, authorization); err != nil {
			return nil, err
		}
	}
	return c.follow(ctx, e, q, resp)
}

// own tells whether a request goes to the endpoint itself, which alone gets its
// login: an upload may have been moved elsewhere.
func (c *Client) own(e hosts.Endpoint, q *request) bool {
	return q.url == nil || q.url.Host == e.Host && (q.url.Scheme == "https" || e.Insecure)
}

// first sends the request, and finds out how an insecure host is reached.
func (c *Client) first(ctx context.Context, e hosts.Endpoint, scheme string, q *request, authorization string) (*http.Response, string, error) {
	if scheme != "" {
		resp, err := c.send(ctx, e, scheme, q, authorization)
		return resp, scheme, err
	}
	resp, err := c.send(ctx, e, "https", q, authorization)
	if err == nil {
		c.learn(e, "https")
		return resp, "https", nil
	}
	if ctx.Err() != nil || fault.Of(err) != nil {
		return nil, "", err
	}
	resp, plainErr := c.send(ctx, e, "http", q, authorization)
	if plainErr != nil {
		return nil, "", plainErr
	}
	c.learn(e, "http")
	return resp, "http", nil
}

func (c *Client) send(ctx context.Context, e hosts.Endpoint, scheme string, q *request, authorization string) (*http.Response, error) {
	u := q.url
	if u == nil {
		u = &url.URL{Scheme: scheme, Host: e.Host, Path: "/v2/" + q.path}
	}
	copied := *u
	u = &copied
	if len(q.query) > 0 || e.NS != "" {
		values := u.Query()
		for k, v := range q.query {
			values[k] = v
		}
		if e.NS != "" {
			values.Set("ns", e.NS)
		}
		u.RawQuery = values.Encode()
	}
	req, cancel, err := c.newRequest(ctx, u, q)
	if err != nil {
		return nil, err
	}
	if authorization != "" && c.own(e, q) {
		req.Header.Set("Authorization", authorization)
	}
	t, err := c.transport(e)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := guarded(t, req, cancel)
	return resp, advise(e, err)
}

// advise adds what to do to failures that an administrator must settle.
func advise(e hosts.Endpoint, err error) error {
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &record):
		return fmt.Errorf("%w (http: server gave HTTP response to HTTPS client: if it shall be reached by plain HTTP, add %s to insecure-registries)", err, e.Host)
	case errors.As(err, &certificate):
		return fmt.Errorf("%w (if it is right, put the certificate of its authority into /etc/sampan/certs.d/%s/ca.crt)", err, e.Host)
	}
	return err
}

func (c *Client) newRequest(ctx context.Context, u *url.URL, q *request) (*http.Request, context.CancelFunc, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
	if err != nil {
		cancel()
		return nil, nil, fault.New(fault.Invalid, "%w", err)
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.agent)
	if q.body != nil {
		body, err := q.body()
		if err != nil {
			cancel()
			return nil, nil, fault.Wrap(fault.Invalid, err)
		}
		req.Body, req.ContentLength = watch(body, c.limits.Stall, cancel), q.size
		if q.size == 0 {
			body.Close()
			req.Body = http.NoBody
		}
	} else if q.method == http.MethodPost || q.method == http.MethodPut || q.method == http.MethodPatch {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	return req, cancel, nil
}

// plain sends a request without a login of ours and follows nothing.
func (c *Client) plain(req *http.Request, insecure bool) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.limits.Dial+c.limits.Header)
	req = req.WithContext(ctx)
	req.Header.Set("User-Agent", c.agent)
	t, err := c.transport(hosts.Endpoint{Host: req.URL.Host, Insecure: insecure})
	if err != nil {
		cancel()
		return nil, err
	}
	return guarded(t, req, cancel)
}

// guarded sends a request whose context ends with the answer's body.
func guarded(t *http.Transport, req *http.Request, cancel context.CancelFunc) (*http.Response, error) {
	resp, err := t.RoundTrip(req)
	if err != nil {
		cancel()
		return nil, &url.Error{Op: verb(req.Method), URL: withoutQuery(req.URL), Err: err}
	}
	resp.Body = &closer{resp.Body, cancel}
	return resp, nil
}

// verb is how net/http names a method in its errors: "Get".
func verb(method string) string {
	return method[:1] + strings.ToLower(method[1:])
}

// withoutQuery keeps signatures in redirected URLs out of messages.
func withoutQuery(u *url.URL) string {
	copied := *u
	copied.RawQuery, copied.User = "", nil
	return copied.String()
}

type closer struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *closer) Close() error {
	err := c.ReadCloser.Close()
	c.cancel()
	return err
}

// follow goes where a registry sends readers of blobs: storage of others, which
// gets no login and whose challenges nobody answers (CVE-2020-15157).
func (c *Client) follow(ctx context.Context, e hosts.Endpoint, q *request, resp *http.Response) (*http.Response, error) {
	secure := resp.Request.URL.Scheme == "https"
	for n := 0; ; n++ {
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			if n > 0 && resp.StatusCode == http.StatusUnauthorized {
				drain(resp)
				return nil, fault.New(fault.Forbidden, "%s sends to %s, which asks for a login: refused, a login is given to nobody but the registry", e, resp.Request.URL.Host)
			}
			return resp, nil
		}
		if q.method != http.MethodGet && q.method != http.MethodHead {
			drain(resp)
			return nil, fault.New(fault.Invalid, "%s redirects a %s to %q: refused", e, q.method, clip(resp.Header.Get("Location")))
		}
		drain(resp)
		if n == maxRedirects {
			return nil, fault.New(fault.Invalid, "%s redirects more than %d times", e, maxRedirects)
		}
		target, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
		if err != nil || target.Host == "" || target.Scheme != "https" && target.Scheme != "http" {
			return nil, fault.New(fault.Invalid, "%s redirects to %q, which is no web address", e, clip(resp.Header.Get("Location")))
		}
		if secure && target.Scheme == "http" && !e.Insecure {
			return nil, fault.New(fault.Forbidden, "%s is reached by TLS and redirects to %s without it: refused", e, target.Host)
		}
		next := &request{method: q.method, header: q.header.Clone()}
		req, cancel, err := c.newRequest(ctx, target, next)
		if err != nil {
			return nil, err
		}
		t, err := c.transport(hosts.Endpoint{Host: target.Host, Insecure: c.cfg.Host(target.Host).Insecure})
		if err != nil {
			cancel()
			return nil, err
		}
		if resp, err = guarded(t, req, cancel); err != nil {
			return nil, err
		}
	}
}

const maxDrain = 64 * kib

// drain reads what is left of a small answer, so that its connection is used
// again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	resp.Body.Close()
}

// watched cancels its request when nobody reads or nothing comes for a while.
type watched struct {
	r     io.ReadCloser
	stall time.Duration
	timer *time.Timer
	once  sync.Once
	gone  chan struct{}
}

// watch guards a body: between two of its reads no more than stall may pass.
func watch(r io.ReadCloser, stall time.Duration, cancel context.CancelFunc) *watched {
	w := &watched{r: r, stall: stall, gone: make(chan struct{})}
	w.timer = time.AfterFunc(stall, func() {
		w.once.Do(func() { close(w.gone) })
		cancel()
	})
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.stall)
	n, err := w.r.Read(p)
	if err == io.EOF {
		w.timer.Stop() // the answer has its own time limit
	} else {
		w.timer.Reset(w.stall)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	return w.r.Close()
}

func (w *watched) stalled() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

func clip(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}
