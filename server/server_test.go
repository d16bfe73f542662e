package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

func newTestServer(t *testing.T) (*Server, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return New(Config{Version: "1.2.3", Log: slog.New(slog.NewTextHandler(&log, nil))}), &log
}

// do sends one request through the whole chain, without a socket.
func do(s *Server, method, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// serveUnix serves s on a socket and returns a client for it.
func serveUnix(t *testing.T, s *Server) (path string, client *http.Client) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen("unix://"+path, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l[0]) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return path, &http.Client{Transport: transport}
}

func TestStatusTable(t *testing.T) {
	want := map[*fault.Class]int{
		fault.NotFound: 404, fault.Conflict: 409, fault.Invalid: 400, fault.NotModified: 304, fault.Unavailable: 503,
		fault.Forbidden: 403, fault.Unauthorized: 401, fault.NotImplemented: 501, fault.Exhausted: 503, fault.Deadline: 500,
	}
	for class, status := range want {
		if got := StatusOf(fmt.Errorf("start web: %w", fault.New(class, "x"))); got != status {
			t.Errorf("%v: %d, want %d", class, got, status)
		}
	}
	if got := StatusOf(errors.New("x")); got != 500 {
		t.Errorf("no class: %d", got)
	}
	if len(statuses) != len(want) {
		t.Errorf("the table has %d classes, this test %d", len(statuses), len(want))
	}
}

func TestErrorsAreJSON(t *testing.T) {
	s, _ := newTestServer(t)
	s.Handle("GET /fail", func(*Call) error { return fault.New(fault.Conflict, `name "x" is <taken>`) })
	s.Handle("POST /same", func(*Call) error { return fault.New(fault.NotModified, "already stopped") })
	w := do(s, "GET", "/v1.41/fail", "", "")
	if w.Code != 409 || w.Body.String() != "{\"message\":\"name \\\"x\\\" is <taken>\"}\n" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if w := do(s, "POST", "/same", "", ""); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("not modified: %d %q", w.Code, w.Body)
	}
	if w := do(s, "GET", "/v1.41/nothing", "", ""); w.Code != 404 || w.Body.String() != "{\"message\":\"page not found\"}\n" {
		t.Errorf("unknown path: %d %q", w.Code, w.Body)
	}
}

func TestVersions(t *testing.T) {
	s, _ := newTestServer(t)
	s.Handle("GET /x", func(c *Call) error { return c.JSON(200, c.Version.String()) })
	cases := []struct {
		path string
		code int
		body string
	}{
		{"/x", 200, `"` + MaxVersion.String() + `"`},
		{"/v1.24/x", 200, `"1.24"`},
		{"/v1.41/x", 200, `"1.41"`},
		{"/v" + MaxVersion.String() + "/x", 200, `"` + MaxVersion.String() + `"`},
		{"/v1.23/x", 400, "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"/v1.4/x", 400, "client version 1.4 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"/v1.99/x", 400, `{"message":"client version 1.99 is too new. Maximum supported API version is ` + MaxVersion.String() + `"}`},
		{"/v2.0/x", 400, `{"message":"client version 2.0 is too new. Maximum supported API version is ` + MaxVersion.String() + `"}`},
		{"/v1/x", 400, "client version 1 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"/v1.x/x", 404, `{"message":"page not found"}`},
		{"/v1.41.2.3/x", 400, `invalid API version "1.41.2.3": want a form like v1.56`},
		{"/v999999999999.1/x", 400, `invalid API version "999999999999.1": want a form like v1.56`},
	}
	for _, tc := range cases {
		t.Run(tc.path, func(t *testing.T) {
			w := do(s, "GET", tc.path, "", "")
			if w.Code != tc.code || strings.TrimSpace(w.Body.String()) != tc.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.body)
			}
			if got := w.Header().Get("Api-Version"); got != MaxVersion.String() {
				t.Errorf("Api-Version: %q", got)
			}
		})
	}
}

func TestRouting(t *testing.T) {
	var rt Router
	for _, p := range []string{
		"GET /images/json", "GET /images/get", "GET /images/{name}/json", "GET /images/{name}/get", "DELETE /images/{name}",
		"GET /containers/{id}/json", "DELETE /containers/{id}", "POST /containers/{id}/attach", "GET /containers/{id}/attach/ws",
		"DELETE /containers/{id}/checkpoints/{checkpoint}", "GET /debug/pprof/", "GET /debug/pprof/{name}", "GET /debug/pprof/cmdline",
	} {
		rt.Handle(p, func(*Call) error { return nil })
	}
	cases := []struct{ method, path, want, vars string }{
		{"GET", "/images/json", "/images/json", ""},
		{"GET", "/images/get", "/images/get", ""},
		{"GET", "/images/web/json", "/images/{name}/json", "web"},
		{"GET", "/images/reg.example:5000/a/b:1/json", "/images/{name}/json", "reg.example:5000/a/b:1"},
		{"GET", "/images/json/json", "/images/{name}/json", "json"},
		{"DELETE", "/images/a/b", "/images/{name}", "a/b"},
		{"DELETE", "/images/", "", ""},
		{"GET", "/containers/web/json", "/containers/{id}/json", "web"},
		{"GET", "/containers/a/b/json", "", ""},
		{"GET", "/containers//json", "", ""},
		{"POST", "/containers/x/attach", "/containers/{id}/attach", "x"},
		{"GET", "/containers/x/attach/ws", "/containers/{id}/attach/ws", "x"},
		{"DELETE", "/containers/x/checkpoints/y", "/containers/{id}/checkpoints/{checkpoint}", "x y"},
		{"DELETE", "/containers/x/checkpoints/", "", ""},
		{"GET", "/debug/pprof/", "/debug/pprof/", ""},
		{"GET", "/debug/pprof/cmdline", "/debug/pprof/cmdline", ""},
		{"GET", "/debug/pprof/heap", "/debug/pprof/{name}", "heap"},
		{"POST", "/images/json", "", ""},
		{"GET", "/", "", ""},
		{"GET", "", "", ""},
	}
	for _, tc := range cases {
		t.Run(tc.method+tc.path, func(t *testing.T) {
			r, vars := rt.match(tc.method, tc.path)
			got := ""
			if r != nil {
				got = r.parts[0]
				for i := 1; i < len(r.parts); i += 2 {
					got += "{" + r.parts[i] + "}" + r.parts[i+1]
				}
			}
			if got != tc.want || strings.TrimSpace(vars[0]+" "+vars[1]) != tc.vars && got != "" {
				t.Errorf("matched %q with %q", got, vars)
			}
		})
	}
	for _, bad := range []string{"GET /images/json", "GET /images/{other}/json", "GET nowhere", "/x", "GET /{a}/{b}/{c}"} {
		t.Run("refuses "+bad, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			rt.Handle(bad, nil)
		})
	}
}

// The catalog is the list that the project measures itself by.
func TestCatalogIsComplete(t *testing.T) {
	raw, err := os.ReadFile("testdata/api.tsv")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range catalog {
		known[r.pattern] = true
	}
	s, _ := newTestServer(t)
	routes := 0
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		pattern := f[0] + " " + f[1]
		routes++
		path := strings.NewReplacer("{id}", "web", "{name}", "web", "{checkpoint}", "c", "{anyroute}", "x").Replace(f[1])
		w := do(s, f[0], "/v1.41"+path, "", "")
		if f[0] == "OPTIONS" {
			if w.Code != 200 {
				t.Errorf("%s: %d", pattern, w.Code)
			}
			continue
		}
		if !known[pattern] {
			t.Errorf("%s is missing from the catalog", pattern)
		}
		if w.Code != 501 || f[0] != "HEAD" && !strings.Contains(w.Body.String(), pattern+" (") {
			t.Errorf("%s: %d %s, want 501 with a sentence that names the route", pattern, w.Code, w.Body)
		}
	}
	if routes < 100 || len(known) != routes-1 {
		t.Errorf("%d routes in the list, %d in the catalog", routes, len(known))
	}
}

func TestWrongMethodsAre404(t *testing.T) {
	s, _ := newTestServer(t) // as Docker answers
	for _, r := range []string{"POST /info", "HEAD /containers/json", "PATCH /containers/x", "BREW /info"} {
		method, path, _ := strings.Cut(r, " ")
		if w := do(s, method, path, "", ""); w.Code != 404 {
			t.Errorf("%s: %d", r, w.Code)
		}
	}
}

func TestDoubledSlashesCollapse(t *testing.T) {
	s, _ := newTestServer(t)
	s.Handle("GET /containers/{id}/json", func(c *Call) error { return c.JSON(200, c.Name) })
	if w := do(s, "GET", "/v1.41/containers///web/json", "", ""); w.Code != 200 || w.Body.String() != "\"web\"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPanicsAreContained(t *testing.T) {
	s, log := newTestServer(t)
	s.Handle("GET /early", func(*Call) error { panic("secret detail") })
	s.Handle("GET /late", func(c *Call) error {
		_, _ = c.W.Write([]byte("half"))
		c.Flush()
		panic("secret detail")
	})
	s.Handle("GET /fine", func(c *Call) error { return c.JSON(200, "fine") })
	_, client := serveUnix(t, s)
	resp, err := client.Get("http://d/early")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 500 || strings.Contains(string(body), "secret") || !strings.Contains(string(body), "internal error ") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	id := strings.Fields(string(body))[2]
	resp, err = client.Get("http://d/late")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("a broken answer looked whole")
	}
	resp, err = client.Get("http://d/fine")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("after panics: %v %v", resp, err)
	}
	resp.Body.Close()
	if !strings.Contains(log.String(), "id="+id) || !strings.Contains(log.String(), "secret detail") {
		t.Errorf("the log lacks id %s or the reason:\n%s", id, log)
	}
}

// An error after the first byte must not end in an answer that looks whole.
func TestErrorAfterTheHeaderBreaksOff(t *testing.T) {
	s, _ := newTestServer(t)
	s.Handle("GET /x", func(c *Call) error {
		_, _ = c.W.Write([]byte("half"))
		c.Flush()
		return errors.New("disk died")
	})
	_, client := serveUnix(t, s)
	resp, err := client.Get("http://d/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("read %q without an error", body)
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	s, _ := newTestServer(t)
	entered := make(chan struct{})
	s.Handle("GET /stream", func(c *Call) error {
		ctx, cancel := c.Stream()
		defer cancel()
		close(entered)
		<-ctx.Done()
		return nil
	})
	_, client := serveUnix(t, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := client.Get("http://d/stream"); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown waited for a stream: %v", err)
	}
	<-done
}

func BenchmarkRequest(b *testing.B) {
	s := New(Config{Version: "1"})
	s.Handle("GET /containers/{id}/json", func(c *Call) error { return c.JSON(200, map[string]string{"Id": c.Name}) })
	h := s.Handler()
	r := httptest.NewRequest("GET", "/v1.41/containers/web/json?size=1", nil)
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
