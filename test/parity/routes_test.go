package parity

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/compat"
)

// compareRoutes sends the requests of routes.txt to both engines.
func compareRoutes(t *testing.T, p *pair) {
	t.Cleanup(func() { p.removeAll(t) })
	lines, err := compat.Lines("../compat/cases/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[*engine]string{p.ours: t.TempDir(), p.theirs: t.TempDir()}
	execs := map[*engine]*string{p.ours: new(string), p.theirs: new(string)}
	for _, l := range lines {
		t.Run(l.Name(), func(t *testing.T) {
			if strings.HasPrefix(l.Command, "docker ") {
				p.both(t, func(e *engine) any { e.shell(t, l.Command, dirs[e]).Must(t); return nil })
				return
			}
			r, err := compat.ParseRequest(l.Command)
			if err != nil {
				t.Fatal(err)
			}
			x, y := p.both(t, func(e *engine) any { return e.sendCase(t, r, execs[e]) })
			a, b := x.(reply), y.(reply)
			if a.status != r.Status {
				t.Errorf("%s\n%s answers %d %s\n%s answers %d %s", l.Command, p.ours.name, a.status, a.raw, p.theirs.name, b.status, b.raw)
			}
			if same := a.status == b.status; same && l.Differs != "" || !same && l.Differs == "" {
				t.Errorf("%s (%s)\n%s: %d %.300s\n%s: %d %.300s", l.Command, l.Differs, p.ours.name, a.status, a.raw, p.theirs.name, b.status, b.raw)
			}
			if a.status >= 400 && r.Method != http.MethodHead && len(a.raw) < 10 {
				t.Errorf("%s: %d without a sentence: %q", l.Command, a.status, a.raw)
			}
		})
	}
}

// sendCase sends one request. EXEC stands for the exec that was made last.
func (e *engine) sendCase(t *testing.T, r compat.Request, exec *string) reply {
	t.Helper()
	path := "/v1.41" + strings.ReplaceAll(r.Path, "EXEC", *exec)
	if r.Path == "/_ping" || r.Method == http.MethodOptions {
		path = r.Path
	}
	req, err := http.NewRequest(r.Method, "http://docker"+path, e.caseBody(t, r.Body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case strings.HasPrefix(r.Body, "@"):
		req.Header.Set("Content-Type", "application/x-tar")
	case r.Body != "":
		req.Header.Set("Content-Type", "application/json")
	}
	switch r.Upgrade {
	case "upgrade":
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "tcp")
	case "websocket":
		for key, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "http://docker",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			req.Header.Set(key, value)
		}
	}
	resp, err := e.api.Do(req)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", e.name, r.Method, path, err)
	}
	defer resp.Body.Close()
	var raw []byte
	if resp.StatusCode != http.StatusSwitchingProtocols {
		if raw, err = io.ReadAll(resp.Body); err != nil {
			t.Fatalf("%s: %s %s: %v", e.name, r.Method, path, err)
		}
	}
	if strings.HasSuffix(r.Path, "/exec") && resp.StatusCode == http.StatusCreated {
		var made struct{ ID string }
		if err := json.Unmarshal(raw, &made); err != nil {
			t.Fatal(err)
		}
		*exec = made.ID
	}
	return reply{resp.StatusCode, resp.Header.Get("Content-Type"), string(raw)}
}

// caseBody returns a body of routes.txt.
func (e *engine) caseBody(t *testing.T, body string) io.Reader {
	t.Helper()
	switch body {
	case "@tar":
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		if err := w.WriteHeader(&tar.Header{Name: "added", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &buf
	case "@image":
		resp, err := e.api.Get(fmt.Sprintf("http://docker/v1.41/images/%s/get", busybox))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(raw)
	}
	return strings.NewReader(body)
}
