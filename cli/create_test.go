package cli

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// fakeDaemon answers on a UNIX socket with the given handler.
func fakeDaemon(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	// Paths of sockets are limited to 107 bytes, test directories are longer.
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		os.RemoveAll(dir)
	})
	t.Setenv("SAMPAN_HOST", "unix://"+socket)
	t.Setenv("DOCKER_CONFIG", dir)
}

type result struct {
	code     int
	out, err string
}

func runCLI(args ...string) result { return runCLIWith(strings.NewReader(""), args...) }

func runCLIWith(in io.Reader, args ...string) result {
	var out, errw strings.Builder
	code := Main(append([]string{ownName}, args...), in, &out, &errw)
	return result{code, out.String(), errw.String()}
}

// goldenCreate is one line of testdata/create/docker.jsonl: a command line and
// what docker/cli 28.2 made of it, a request or an exit code.
type goldenCreate struct {
	Args []string       `json:"args"`
	Path string         `json:"path"`
	Body map[string]any `json:"body"`
	Code int            `json:"code"`
}

// TestCreateRequestsAreDockers compares our create requests with those that
// docker/cli sends for the same command lines.
func TestCreateRequestsAreDockers(t *testing.T) {
	var mu sync.Mutex
	var path string
	var body map[string]any
	fakeDaemon(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, path, _ = strings.Cut(strings.TrimPrefix(r.URL.RequestURI(), "/"), "/")
		if strings.HasPrefix(path, "sampan/") {
			answer(w, http.StatusNotFound, map[string]string{"message": "page not found"})
			return
		}
		body = nil
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("request %s: %v", path, err)
		}
		answer(w, http.StatusInternalServerError, map[string]string{"message": "recorded"})
	})
	t.Setenv("FOO", "bar baz")
	t.Chdir("testdata/create")
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("docker.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		var want goldenCreate
		if err := json.Unmarshal([]byte(strings.ReplaceAll(s.Text(), "$PWD", cwd)), &want); err != nil {
			t.Fatal(err)
		}
		t.Run(strings.Join(want.Args, " "), func(t *testing.T) {
			path, body = "", nil
			got := runCLI(want.Args...)
			if want.Body == nil {
				if path != "" || got.code != want.Code || got.err == "" {
					t.Fatalf("sent %q, exit code %d, %q; docker refuses with %d", path, got.code, got.err, want.Code)
				}
				return
			}
			if path != want.Path {
				t.Errorf("path %q, docker's %q (%s)", path, want.Path, got.err)
			}
			gotBody, _ := meaningful(body, "").(map[string]any)
			if !reflect.DeepEqual(gotBody, want.Body) {
				t.Errorf("body differs:\n ours     %s\n docker's %s", text(gotBody), text(want.Body))
			}
		})
	}
	if n < 200 {
		t.Fatalf("only %d golden requests", n)
	}
}

// meaningful drops what has the value zero, except where an empty value is
// one: in maps of the user's and in lists that replace a default.
func meaningful(v any, key string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, item := range v {
			item = meaningful(item, k)
			if userMap(key) || !zero(item) || replacesDefault(k, item) {
				out[k] = item
			}
		}
		return out
	case []any:
		out := []any{}
		for _, item := range v {
			out = append(out, meaningful(item, ""))
		}
		return out
	}
	return v
}

func userMap(key string) bool {
	switch key {
	case "Tmpfs", "Volumes", "ExposedPorts", "Labels", "Sysctls", "Options", "Annotations", "Config", "EndpointsConfig", "PortBindings", "DriverOpts":
		return true
	}
	return false
}

func replacesDefault(key string, v any) bool {
	_, isList := v.([]any)
	return isList && (key == "MaskedPaths" || key == "ReadonlyPaths")
}

func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
