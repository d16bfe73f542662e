// Package connect reaches the daemon: it finds the host, speaks TLS, picks the
// API version without asking first, starts sampand where that is wanted, and
// opens the hijacked streams of attach and exec.
//
// Requests are made by package client; this package gives it a transport.
// Nothing is sent before the first request.
package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/version"
)

const dialTimeout = 10 * time.Second

// Options say where the daemon is and how to speak to it.
type Options struct {
	Host    string // the flag; empty means SAMPAN_HOST, DOCKER_HOST, default
	TLS     TLS
	Headers map[string]string // extra headers of the configuration file
	Notices io.Writer         // where a started daemon is announced
	Trace   io.Writer         // one line per request, if set
	// TLSProgram speaks TLS; empty means the daemon's program on this machine.
	TLSProgram string
	// NoStart keeps a missing daemon from being started.
	NoStart bool
}

// Conn is the API client plus what the client library does not offer.
type Conn struct {
	*client.Client
	end       endpoint
	basePath  string
	headers   map[string]string
	transport *transport
	// tlsArgs are those of the program that speaks TLS, or nil; tlsProgram is
	// that program, where it is not the daemon's.
	tlsArgs    []string
	tlsProgram string
	versions   *versioner
	notices    io.Writer
	trace      io.Writer
	// mayStart allows one attempt to start sampand. It ends with the first
	// success: a daemon that goes away later was stopped on purpose.
	mayStart atomic.Bool
}

// NoDaemonError says that nobody answers.
type NoDaemonError struct {
	Host   string
	Reason string
	Advice string
}

func (e *NoDaemonError) Error() string {
	return fmt.Sprintf("Cannot connect to the Sampan daemon at %s. Is the sampand daemon running? (%s; %s)", e.Host, e.Reason, e.Advice)
}

// New prepares a connection.
func New(o Options) (*Conn, error) {
	o.TLS = o.TLS.fromEnv()
	end, err := findHost(o.Host, o.TLS.Requested())
	if err != nil {
		return nil, err
	}
	c := &Conn{end: end, headers: o.Headers, notices: o.Notices, trace: o.Trace}
	c.mayStart.Store(end.implied && !o.NoStart && os.Geteuid() == 0)
	if end.network == "tcp" {
		name, _, _ := net.SplitHostPort(end.addr)
		if o.TLS.Requested() {
			c.tlsArgs, c.tlsProgram = o.TLS.args(name), o.TLSProgram
		}
		u, err := url.Parse(end.host)
		if err != nil {
			return nil, fmt.Errorf("the host %s: %w", end.host, err)
		}
		c.basePath = u.Path
	}
	c.transport = &transport{dial: c.dialSecure, secure: c.tlsArgs != nil}
	c.versions = newVersioner(c.transport, c.basePath)
	c.Client = client.New(c.roundTripper(), client.Options{
		Host: c.httpHost(), BasePath: c.basePath, Version: c.versions.preferred,
		Headers: o.Headers, UserAgent: userAgent(),
	})
	return c, nil
}

// httpHost is the Host header of requests.
func (c *Conn) httpHost() string {
	if c.end.network == "tcp" {
		return c.end.addr
	}
	return client.DummyHost
}

func userAgent() string { return "Sampan-Client/" + version.Version + " (linux)" }

// APIVersion is the version in use: the newest one this client knows, unless
// the daemon has already asked for an older one.
func (c *Conn) APIVersion() string { return c.versions.current() }

// Host is the daemon's address as the user would write it.
func (c *Conn) Host() string { return c.end.host }

// dial opens a plain connection, starting a daemon where that is allowed.
func (c *Conn) dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.dialOnce(ctx)
	if err == nil {
		c.mayStart.Store(false)
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if missing(err) && c.mayStart.CompareAndSwap(true, false) {
		if err := startDaemon(ctx, c.end.addr, c.notices); err != nil {
			advice := "run sampand in a terminal to see what is wrong"
			if errors.Is(err, errNoBinary) {
				advice = "install sampand, or name another host with -H or SAMPAN_HOST"
			}
			return nil, &NoDaemonError{Host: c.end.host, Reason: err.Error(), Advice: advice}
		}
		return c.dialOnce(ctx)
	}
	return nil, c.noDaemon(err)
}

func (c *Conn) dialOnce(ctx context.Context) (net.Conn, error) {
	if c.end.network == "unix" {
		if conn, err := dialLocal(c.end.addr); !errors.Is(err, errBusy) {
			return conn, err
		}
	}
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return d.DialContext(ctx, c.end.network, c.end.addr)
}

// missing tells that nobody listens on a UNIX socket.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// noDaemon says what a failed dial means and what to do about it.
func (c *Conn) noDaemon(err error) *NoDaemonError {
	e := &NoDaemonError{Host: c.end.host, Advice: "start it with: sampand &, or name another host with -H or SAMPAN_HOST"}
	var dns *net.DNSError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Reason = "the socket does not exist"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason = "nothing listens there"
	case errors.Is(err, fs.ErrPermission):
		e.Reason = "this user may not open the socket"
		e.Advice = "run the command as root, or join the group that owns the socket"
	case errors.As(err, &dns):
		e.Reason = dns.Error()
		e.Advice = "check the name in -H, SAMPAN_HOST or DOCKER_HOST"
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = "no answer in time"
		e.Advice = "check the address and the firewall between here and there"
	default:
		e.Reason = err.Error()
	}
	return e
}

// Unreachable tells whether err means that the daemon went away: it may come
// back, unlike an error that the daemon itself reported.
func Unreachable(err error) bool {
	var gone *NoDaemonError
	return errors.As(err, &gone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || client.IsErrConnectionFailed(err)
}

// Dial opens a connection to the daemon and speaks nothing on it.
func (c *Conn) Dial(ctx context.Context) (net.Conn, error) {
	l, err := c.transport.connect(ctx)
	if err != nil {
		return nil, err
	}
	return l.Conn, nil
}
