package scenario

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

// Wrong input ends with Docker's exit code and one sentence that names the
// object; nothing half made stays.
func TestWrongInput(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "taken", "-p", "7001:80", busybox, "sleep", "1000").Must(t)
	listener, err := net.Listen("tcp", "0.0.0.0:7002")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	for _, tc := range []struct {
		name string
		args []string
		code int
		want string // in stderr
	}{
		{"missing command", []string{"run", busybox, "absent"}, 127, "absent"},
		{"directory as command", []string{"run", busybox, "/etc"}, 126, "/etc"},
		{"no exec right", []string{"run", busybox, "/etc/noexec"}, 126, "/etc/noexec"},
		{"bad mount source", []string{"run", "--mount", "type=bind,src=/absent,dst=/data", busybox, "true"}, 125, "/absent"},
		{"unknown user", []string{"run", "--user", "nobody-here", busybox, "true"}, 126, "nobody-here"},
		{"bad capability", []string{"run", "--cap-add", "FLY", busybox, "true"}, 125, "FLY"},
		{"bad sysctl", []string{"run", "--sysctl", "kernel.pid_max=1", busybox, "true"}, 125, "kernel.pid_max"},
		{"memory of one byte", []string{"run", "-m", "1", busybox, "true"}, 125, "emory"},
		{"port in use by us", []string{"run", "-p", "7001:80", busybox, "true"}, 125, "7001"},
		{"port in use by another", []string{"run", "-p", "7002:80", busybox, "true"}, 125, "7002"},
		{"name in use", []string{"run", "--name", "taken", busybox, "true"}, 125, "taken"},
		{"unknown image", []string{"run", "absent:1", "true"}, 125, "absent:1"},
		{"bad name", []string{"run", "--name", "../x", busybox, "true"}, 125, "../x"},
		{"bad port", []string{"run", "-p", "99999:80", busybox, "true"}, 125, "99999"},
	} {
		for _, c := range clients(d) {
			t.Run(tc.name+"/"+c.name, func(t *testing.T) {
				args := append([]string{tc.args[0], "--rm"}, tc.args[1:]...)
				r := c.do(args...)
				// Docker's own exit code for an unknown user differs by version: 125 or 126.
				ok := r.Code == tc.code || tc.name == "unknown user" && r.Code == 125
				if !ok || !strings.Contains(r.Err, tc.want) {
					t.Errorf("exit %d, stderr %q; want exit %d naming %q", r.Code, r.Err, tc.code, tc.want)
				}
				for _, bad := range []string{"panic:", "goroutine", "&{", "0xc0"} {
					if strings.Contains(r.Err, bad) {
						t.Errorf("stderr holds %q: %s", bad, r.Err)
					}
				}
			})
		}
	}
	if out := d.Sampan("ps", "-a", "--format", "{{.Names}}").Must(t); out != "taken" {
		t.Errorf("containers left: %q", out)
	}
}

func TestGarbageOnTheAPI(t *testing.T) {
	d := start(t)
	hc := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", "/run/sampan/sampan.sock")
	}}}
	defer hc.CloseIdleConnections()
	pid := d.Pid()
	for name, body := range map[string][]byte{
		"a megabyte of noise": bytes.Repeat([]byte{0xff, '{', '"', 0}, 1<<18),
		"deep nesting":        bytes.Repeat([]byte{'['}, 100_000),
		"trailing text":       []byte(`{"Image":"busybox:test"} and more`),
		"wrong type":          []byte(`{"Image":7}`),
		"empty":               nil,
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := hc.Post("http://x/v1.41/containers/create", "application/json", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d, want 400", resp.StatusCode)
			}
		})
	}
	if d.Pid() != pid || d.Sampan("ps", "-aq").Must(t) != "" {
		t.Error("garbage changed the daemon or left a container")
	}
}

func TestBrokenTarIsNotImported(t *testing.T) {
	d := lab.Start(t)
	whole, err := os.ReadFile(busyboxTar(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"cut":     whole[:len(whole)/2],
		"garbage": bytes.Repeat([]byte("not a tar "), 1000),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "broken.tar")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := d.Sampan("import", path, "broken:1"); r.Code == 0 || r.Err == "" {
				t.Errorf("import of a broken tar: exit %d, stderr %q", r.Code, r.Err)
			}
			if out := d.Sampan("images", "-aq").Must(t); out != "" {
				t.Errorf("images left: %q", out)
			}
		})
	}
}
