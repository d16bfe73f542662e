// Package server is the engine's HTTP server: it speaks the Docker Engine API,
// versions MinVersion to MaxVersion, on UNIX and TCP sockets.
//
// This package is the frame: listeners, checks of who may ask, API versions,
// routing, bounded bodies, errors, streams and hijacked connections. The routes
// live in one folder per noun (server/container, server/image, …); each has a
// Register function that adds its routes to a Server in one line apiece, and
// declares the small interface of the service it needs. server/compat gives
// answers the shape that older API versions had.
//
// A route of Docker's API that no noun has registered answers 501 with a
// sentence (catalog.go); any other path answers 404.
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

const (
	headerTimeout = 10 * time.Second // a client that sends its header slower is cut off
	idleTimeout   = 2 * time.Minute
	maxHeader     = 256 << 10 // query strings of image builds are long
)

// Config is what the frame itself needs to know.
type Config struct {
	Version      string   // of the engine, for the Server header
	Experimental bool     // the Docker-Experimental header
	AllowedHosts []string // further names that plain TCP clients may put into Host
	Log          *slog.Logger
}

// Server serves the routes registered with Handle. Routes are registered before
// Serve is called.
type Server struct {
	Router
	cfg     Config
	log     *slog.Logger
	server  string
	http    *http.Server
	hosts   map[string]bool
	ending  context.Context // done when the server shuts down
	end     context.CancelFunc
	pending sync.Once
}

// New returns a server without routes.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Log, server: fmt.Sprintf("Sampan/%s (linux)", cfg.Version)}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.hosts = allowedHosts(cfg.AllowedHosts)
	s.ending, s.end = context.WithCancel(context.Background())
	var protocols http.Protocols
	protocols.SetHTTP1(true) // hijacking does not exist in HTTP/2
	s.http = &http.Server{
		Handler:                      s,
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		Protocols:                    &protocols,
		DisableGeneralOptionsHandler: true,
		ConnContext:                  connContext,
		ErrorLog:                     log.New(logWriter{s.log}, "", 0),
	}
	s.http.RegisterOnShutdown(s.end)
	return s
}

// logWriter passes net/http's own complaints (handshakes, bad requests) on.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug("http", "message", strings.TrimSpace(string(p)))
	return len(p), nil
}

// Serve answers requests from l until Shutdown; it may run for several
// listeners at once. After Shutdown it returns nil.
func (s *Server) Serve(l net.Listener) error {
	s.pending.Do(s.registerPending)
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting, ends streams (events, followed logs, waits), lets
// other requests finish until ctx ends, and closes the connections. Hijacked
// streams belong to their containers' shims and go on.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		s.end()
		if errors.Is(err, context.DeadlineExceeded) {
			// A client that does not read its answer must not make the daemon's end a failed one.
			s.log.Warn("requests that did not finish in time are cut off")
			return s.http.Close()
		}
		return errors.Join(fmt.Errorf("shut the API down: %w", err), s.http.Close())
	}
	return nil
}

// Handler returns the server as an http.Handler, for tests.
func (s *Server) Handler() http.Handler {
	s.pending.Do(s.registerPending)
	return s
}

type streamKey struct{}

// Stream returns the call's context, ended also by the server's shutdown. Long
// streams use it so that they do not hold a shutdown up.
func (c *Call) Stream() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.Context())
	ending, ok := c.Context().Value(streamKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(ending, cancel)
	return ctx, func() { stop(); cancel() }
}

// ServeHTTP is the chain every request takes.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &writer{ResponseWriter: rw}
	c := &Call{Request: r, W: w}
	defer s.recoverPanic(c, w)
	h := rw.Header()
	h["Server"] = []string{s.server}
	h["Api-Version"] = []string{MaxVersion.String()}
	h["Ostype"] = []string{"linux"}
	h["Docker-Experimental"] = []string{fmt.Sprint(s.cfg.Experimental)}
	if err := s.guard(r); err != nil {
		s.fail(c, w, err)
		return
	}
	prefix, path := splitVersion(r.URL.Path)
	var err error
	if c.Version, err = negotiate(prefix); err != nil {
		if c.Version < MinVersion {
			// Clients that old cannot parse a JSON error.
			http.Error(w, err.Error(), StatusOf(err))
			return
		}
		s.fail(c, w, err)
		return
	}
	if strings.Contains(path, "//") {
		path = collapseSlashes(path) // "docker inspect /web" asks for /containers//web/json
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	route, vars := s.match(r.Method, path)
	if route == nil {
		s.fail(c, w, fault.New(fault.NotFound, "page not found"))
		return
	}
	c.Name, c.Name2 = vars[0], vars[1]
	if r.URL.RawQuery != "" {
		if c.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			s.fail(c, w, fault.New(fault.Invalid, "malformed query: %w", err))
			return
		}
	}
	c.Request = r.WithContext(context.WithValue(r.Context(), streamKey{}, s.ending))
	if err := route.handle(c); err != nil {
		s.fail(c, w, err)
	}
}

// fail answers with an error, or breaks the connection off when a part of a
// good answer has gone out: the client must not take it for the whole.
func (s *Server) fail(c *Call, w *writer, err error) {
	status := StatusOf(err)
	if c.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // the client went away, nobody reads an answer
	}
	if status == http.StatusInternalServerError {
		s.log.Error("request failed", "method", c.Method, "path", c.URL.Path, "status", status, "error", err)
	}
	switch {
	case c.hijacked:
	case w.wrote:
		panic(http.ErrAbortHandler)
	case status == http.StatusNotModified:
		w.WriteHeader(status)
	default:
		w.Header().Del("Content-Length")
		if err := c.JSON(status, errorBody{err.Error()}); err != nil {
			s.log.Error("write an error answer", "error", err)
		}
	}
}

type errorBody struct {
	Message string `json:"message"`
}

// recoverPanic turns a panic of a handler into a 500 with an id that is also in
// the log. A defect in one request must not end the daemon.
func (s *Server) recoverPanic(c *Call, w *writer) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p) // net/http's own signal: drop the connection silently
	}
	var raw [6]byte
	_, _ = rand.Read(raw[:])
	id := hex.EncodeToString(raw[:])
	s.log.Error("a handler panicked", "id", id, "method", c.Method, "path", c.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if c.hijacked {
		return
	}
	if w.wrote {
		panic(http.ErrAbortHandler)
	}
	err := fmt.Errorf("internal error %s while answering %s %s; the daemon's log has the details under this id", id, c.Method, c.URL.Path)
	_ = c.JSON(http.StatusInternalServerError, errorBody{err.Error()})
}

func collapseSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// writer remembers whether an answer has begun.
type writer struct {
	http.ResponseWriter
	wrote bool
}

func (w *writer) WriteHeader(status int) {
	w.wrote = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach flushing, deadlines and hijacking.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
