// Package client talks to registries: OCI distribution 1.1 and Docker's registry
// API v2 with schema 2. A Client is shared by all requests of the daemon and
// keeps connections, tokens and what it learned of each server; Repository gives
// access to one repository with one user's login.
//
// Everything a registry answers is hostile: every read is bounded, sizes and
// digests are compared, redirects lead nowhere with a login, and no server that
// was not configured as insecure is reached by plain HTTP.
//
// A failure that may pass (a broken connection, 408, 429, 5xx) is tried again a
// bounded number of times, after a growing pause or what Retry-After says. Blobs
// go on where they were cut.
package client

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/distribution/reference"

	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/hosts"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// Limits bound how long a registry may keep us.
type Limits struct {
	Attempts   int           // tries of one request without progress
	Dial       time.Duration // to connect, TLS included
	Header     time.Duration // until an answer begins
	Stall      time.Duration // without a byte in either direction
	Backoff    time.Duration // before the second try; doubles
	BackoffMax time.Duration
	RetryAfter time.Duration // longest pause that a registry may ask for

	// Ranges is the most connections for one blob, each for RangeSize bytes at a
	// time, when one alone would need longer than RangesAfter for the rest.
	Ranges      int
	RangeSize   int64
	RangesAfter time.Duration
}

// DefaultLimits are for the Internet.
func DefaultLimits() Limits {
	return Limits{
		Attempts: 5, Dial: 15 * time.Second, Header: 30 * time.Second, Stall: 30 * time.Second,
		Backoff: 500 * time.Millisecond, BackoffMax: 15 * time.Second, RetryAfter: 60 * time.Second,
		Ranges: 4, RangeSize: 4 * mib, RangesAfter: 4 * time.Second,
	}
}

// Client is safe for concurrent use.
type Client struct {
	cfg    *hosts.Config
	limits Limits
	agent  string
	tokens auth.Tokens
	pieces chan struct{} // bounds what is fetched ahead
	// dial and trust are set by tests: where every name leads, and that any
	// certificate is right.
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	trust bool

	mu         sync.Mutex
	transports map[string]*http.Transport // by host and state of its certificates
	schemes    map[string]learned         // of insecure hosts
}

// learned is the scheme that an insecure host answered to.
type learned struct {
	scheme string
	until  time.Time
}

const (
	schemeLife    = 5 * time.Minute
	maxTransports = 64
	maxSchemes    = 256
	idleConns     = 16
	idleTimeout   = 30 * time.Second
	ioBuffer      = 64 * kib
	maxHeaders    = 256 * kib
)

// New makes a client. agent is the User-Agent.
func New(cfg *hosts.Config, limits Limits, agent string) *Client {
	return &Client{cfg: cfg, limits: limits, agent: agent, transports: map[string]*http.Transport{}, schemes: map[string]learned{}, pieces: make(chan struct{}, maxPieces)}
}

// Config is what the client was made with.
func (c *Client) Config() *hosts.Config { return c.cfg }

// Close gives the idle connections up.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// transport returns the connections to an endpoint's host. Certificates are
// read anew when their files change.
func (c *Client) transport(e hosts.Endpoint) (*http.Transport, error) {
	key := e.Host + " " + c.cfg.CertState(e.Host)
	if e.Insecure {
		key = "insecure " + key
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.transports[key]; t != nil {
		return t, nil
	}
	cfg, err := c.cfg.TLS(e)
	if err != nil {
		return nil, err
	}
	if len(c.transports) >= maxTransports {
		for _, t := range c.transports {
			t.CloseIdleConnections()
		}
		c.transports = map[string]*http.Transport{}
	}
	dialer := &net.Dialer{Timeout: c.limits.Dial, KeepAlive: 15 * time.Second}
	dial := dialer.DialContext
	if c.dial != nil {
		dial = c.dial
	}
	cfg.InsecureSkipVerify = cfg.InsecureSkipVerify || c.trust
	t := &http.Transport{
		Proxy:                  c.cfg.Proxy.Func(),
		DialContext:            dial,
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    c.limits.Dial,
		ResponseHeaderTimeout:  c.limits.Header,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaders,
		ReadBufferSize:         ioBuffer,
		WriteBufferSize:        ioBuffer,
		// Blobs must come byte for byte.
		DisableCompression: true,
		// HTTP/2 would squeeze all layers through one connection.
		ForceAttemptHTTP2: false,
	}
	c.transports[key] = t
	return t, nil
}

func (c *Client) scheme(e hosts.Endpoint) string {
	if e.Scheme != "" {
		return e.Scheme
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.schemes[e.Host]; ok && time.Now().Before(l.until) {
		return l.scheme
	}
	return ""
}

func (c *Client) learn(e hosts.Endpoint, scheme string) {
	if e.Scheme != "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.schemes) >= maxSchemes {
		c.schemes = map[string]learned{}
	}
	c.schemes[e.Host] = learned{scheme, time.Now().Add(schemeLife)}
}

// Repository is one repository as one user sees it.
type Repository struct {
	c     *Client
	name  reference.Named
	login auth.Credentials
	// insecure is a user's word for one request that the registry may be reached
	// by plain HTTP, or with any certificate.
	insecure bool
}

// Repository needs no request.
func (c *Client) Repository(name reference.Named, login auth.Credentials) *Repository {
	return &Repository{c: c, name: reference.TrimNamed(name), login: login}
}

// Source is where a repository can be read: the registry or a mirror of it.
type Source struct {
	r *Repository
	e hosts.Endpoint
}

// Sources lists where to read, in the order to try.
func (r *Repository) Sources() []*Source {
	var list []*Source
	for _, e := range r.c.cfg.Read(r.name) {
		list = append(list, &Source{r, e})
	}
	return list
}

// Origin is the registry itself, which pushes go to.
func (r *Repository) Origin() *Source {
	e := r.c.cfg.Origin(r.name)
	if r.insecure {
		e.Scheme, e.Insecure = "", true
	}
	return &Source{r, e}
}

// Insecure is the repository for a user who asked for it by name.
func (r *Repository) Insecure() *Repository {
	copied := *r
	copied.insecure = true
	return &copied
}

// Name is the repository's name in full.
func (r *Repository) Name() string { return r.name.Name() }

// String names the server, for messages.
func (s *Source) String() string { return s.e.String() }

// Host is the server's host[:port].
func (s *Source) Host() string { return s.e.Host }

// Mirror tells whether this is not the registry itself.
func (s *Source) Mirror() bool { return s.e.Mirror }

func (s *Source) path() string { return s.e.Prefix + reference.Path(s.r.name) }

// login is for the registry alone: mirrors are somebody else's.
func (s *Source) login() auth.Credentials {
	if s.e.Mirror {
		return auth.Credentials{}
	}
	return s.r.login
}
