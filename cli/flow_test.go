package cli

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// route answers by method and path, without the version in front.
type route map[string]http.HandlerFunc

func (routes route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[strings.Index(path[1:], "/")+1:]
	}
	if h, ok := routes[r.Method+" "+path]; ok {
		h(w, r)
		return
	}
	if strings.HasPrefix(path, "/sampan/") { // another engine's daemon does not know our routes
		answer(w, http.StatusNotFound, map[string]string{"message": "page not found"})
		return
	}
	answer(w, http.StatusNotFound, map[string]string{"message": "No such container: " + path})
}

func reply(status int, v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if v == nil {
			w.WriteHeader(status)
			return
		}
		answer(w, status, v)
	}
}

func refuse(status int, message string) http.HandlerFunc {
	return reply(status, map[string]string{"message": message})
}

// hijack upgrades the connection and hands it to f.
func hijack(f func(conn io.ReadWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		f(struct {
			io.Reader
			io.Writer
		}{rw, conn})
	}
}

func frame(stream byte, text string) []byte {
	b := make([]byte, 8, 8+len(text))
	b[0] = stream
	binary.BigEndian.PutUint32(b[4:], uint32(len(text)))
	return append(b, text...)
}

// runRoutes is a daemon that runs one container which prints on both streams
// and ends with code.
func runRoutes(code int) route {
	started := make(chan struct{})
	return route{
		"POST /containers/create": reply(201, map[string]any{"Id": "0123456789abcdef", "Warnings": []string{"careful\x1b[2J"}}),
		"POST /containers/0123456789abcdef/attach": hijack(func(conn io.ReadWriter) {
			<-started
			_, _ = conn.Write(append(frame(1, "out\n"), frame(2, "err\n")...))
		}),
		"POST /containers/0123456789abcdef/start": func(w http.ResponseWriter, _ *http.Request) {
			close(started)
			w.WriteHeader(http.StatusNoContent)
		},
		"POST /containers/0123456789abcdef/wait": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-started
			fmt.Fprintf(w, `{"StatusCode":%d}`, code)
		},
	}
}

func TestRun(t *testing.T) {
	fakeDaemon(t, runRoutes(42).ServeHTTP)
	got := runCLI("run", "image", "command")
	if got.code != 42 || got.out != "out\n" || !strings.HasSuffix(got.err, "err\n") || !strings.Contains(got.err, "WARNING: careful") {
		t.Errorf("got %+v", got)
	}
}

func TestRunDetached(t *testing.T) {
	fakeDaemon(t, runRoutes(0).ServeHTTP)
	if got := runCLI("run", "-d", "image"); got.code != 0 || got.out != "0123456789abcdef\n" {
		t.Errorf("got %+v", got)
	}
}

// TestRunExitCodes: errors before the process runs have the shells' codes.
func TestRunExitCodes(t *testing.T) {
	for _, c := range []struct {
		message string
		code    int
	}{
		{`exec: "nope": executable file not found in $PATH`, 127},
		{"exec /x: no such file or directory", 127},
		{"exec /etc: permission denied", 126},
		{"port 80 is in use", 125},
	} {
		t.Run(c.message, func(t *testing.T) {
			routes := runRoutes(0)
			routes["POST /containers/0123456789abcdef/start"] = refuse(400, c.message)
			routes["POST /containers/0123456789abcdef/wait"] = reply(200, map[string]int{"StatusCode": 0})
			removed := false
			routes["DELETE /containers/0123456789abcdef"] = func(w http.ResponseWriter, _ *http.Request) {
				removed = true
				w.WriteHeader(http.StatusNoContent)
			}
			fakeDaemon(t, routes.ServeHTTP)
			got := runCLI("run", "--rm", "image")
			if got.code != c.code || !strings.Contains(got.err, "sampan: Error response from daemon: "+c.message) {
				t.Errorf("got %+v", got)
			}
			if !removed {
				t.Error("the container that did not start was left")
			}
		})
	}
}

// TestRunSurvivesTheDaemon: the wait breaks with the daemon, the stream goes
// on, and the exit code comes from the daemon that is back.
func TestRunSurvivesTheDaemon(t *testing.T) {
	routes := runRoutes(0)
	var mu sync.Mutex
	waits := 0
	routes["POST /containers/0123456789abcdef/wait"] = func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		waits++
		n := waits
		mu.Unlock()
		switch {
		case n == 1:
			// Registered, then cut off.
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
			panic(http.ErrAbortHandler)
		case n < 4:
			// No daemon: the connection is closed without an answer.
			panic(http.ErrAbortHandler)
		}
		if got := r.URL.Query().Get("condition"); got != "not-running" {
			t.Errorf("condition %q after the return", got)
		}
		answer(w, http.StatusOK, map[string]int{"StatusCode": 9})
	}
	fakeDaemon(t, routes.ServeHTTP)
	if got := runCLI("run", "image"); got.code != 9 || got.out != "out\n" {
		t.Errorf("got %+v", got)
	}
}

func TestRunPullsAMissingImage(t *testing.T) {
	routes := runRoutes(0)
	created, pulled := routes["POST /containers/create"], false
	routes["POST /containers/create"] = func(w http.ResponseWriter, r *http.Request) {
		if !pulled {
			refuse(404, "No such image: image:latest")(w, r)
			return
		}
		created(w, r)
	}
	routes["POST /images/create"] = func(w http.ResponseWriter, r *http.Request) {
		pulled = r.URL.Query().Get("fromImage") == "docker.io/library/image" && r.URL.Query().Get("tag") == "latest"
		fmt.Fprintln(w, `{"status":"Pulling","id":"layer"}`)
	}
	fakeDaemon(t, routes.ServeHTTP)
	got := runCLI("run", "image")
	if got.code != 0 || !strings.Contains(got.err, "Unable to find image 'image:latest' locally\nlayer: Pulling\n") {
		t.Errorf("got %+v", got)
	}
	pulled = false
	if got := runCLI("run", "--pull", "never", "image"); got.code != 125 || pulled {
		t.Errorf("--pull never: pulled %v, got %+v", pulled, got)
	}
}

func TestCIDFile(t *testing.T) {
	path := t.TempDir() + "/cid"
	fakeDaemon(t, runRoutes(0).ServeHTTP)
	if got := runCLI("create", "--cidfile", path, "image"); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	if text, err := os.ReadFile(path); string(text) != "0123456789abcdef" {
		t.Errorf("file holds %q (%v)", text, err)
	}
	if got := runCLI("create", "--cidfile", path, "image"); got.code != 1 || !strings.Contains(got.err, "container ID file found") {
		t.Errorf("a second time: %+v", got)
	}
}

func TestExec(t *testing.T) {
	fakeDaemon(t, route{
		"POST /containers/c/exec": reply(201, map[string]string{"Id": "e"}),
		"POST /exec/e/start": hijack(func(conn io.ReadWriter) {
			in, _ := io.ReadAll(conn)
			_, _ = conn.Write(frame(1, strings.ToUpper(string(in))))
		}),
		"GET /exec/e/json": reply(200, map[string]any{"ID": "e", "Running": false, "ExitCode": 3}),
	}.ServeHTTP)
	got := runCLIWith(strings.NewReader("input"), "exec", "-i", "c", "cat")
	if got.code != 3 || got.out != "INPUT" {
		t.Errorf("got %+v", got)
	}
}

func TestExecRefused(t *testing.T) {
	for message, code := range map[string]int{
		`exec: "nope": executable file not found in $PATH`: 127, "exec /etc: permission denied": 126, "container c is not running": 1,
	} {
		t.Run(message, func(t *testing.T) {
			fakeDaemon(t, route{
				"POST /containers/c/exec": reply(201, map[string]string{"Id": "e"}),
				"POST /exec/e/start":      refuse(400, message),
			}.ServeHTTP)
			if got := runCLI("exec", "c", "x"); got.code != code || !strings.Contains(got.err, "Error response from daemon: "+message) {
				t.Errorf("got %+v, want code %d", got, code)
			}
		})
	}
}

// TestOldDaemon: a request is sent again with the version that the daemon
// names, and later ones use it at once; nobody pings.
func TestOldDaemon(t *testing.T) {
	var paths []string
	fakeDaemon(t, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.Method+" "+r.URL.Path)
		if !strings.HasPrefix(r.URL.Path, "/v1.41/") {
			refuse(400, "client version 1.56 is too new. Maximum supported API version is 1.41")(w, r)
			return
		}
		if r.Method == http.MethodPost {
			body, _ := io.ReadAll(r.Body)
			if !strings.Contains(string(body), `"Image":"i"`) {
				t.Errorf("the body was not sent again: %q", body)
			}
			answer(w, 201, map[string]string{"Id": "x"})
			return
		}
		answer(w, 200, []any{})
	})
	if got := runCLI("ps", "-q"); got.code != 0 || got.err != "" {
		t.Errorf("ps: %+v", got)
	}
	if got := runCLI("create", "i"); got.code != 0 || got.out != "x\n" {
		t.Errorf("create: %+v", got)
	}
	want := "GET /v1.56/containers/json,GET /v1.41/containers/json,POST /v1.56/containers/create,POST /v1.41/containers/create"
	if got := strings.Join(paths, ","); got != want {
		t.Errorf("requests %s", got)
	}
}

func TestBatch(t *testing.T) {
	fakeDaemon(t, route{
		"DELETE /containers/a": reply(204, nil), "DELETE /containers/c": reply(204, nil),
		"DELETE /containers/b": refuse(409, "b is running"),
	}.ServeHTTP)
	got := runCLI("rm", "a", "b", "c", "gone")
	if got.code != 1 || got.out != "a\nc\n" || !strings.Contains(got.err, "b is running") || !strings.Contains(got.err, "No such container") {
		t.Errorf("rm: %+v", got)
	}
	// -f means "make sure that it is gone".
	if got := runCLI("rm", "-f", "gone"); got.code != 0 || !strings.Contains(got.err, "No such container") {
		t.Errorf("rm -f: %+v", got)
	}
}

func TestInspect(t *testing.T) {
	fakeDaemon(t, route{
		"GET /containers/c/json": reply(200, map[string]any{"Id": "1", "Name": "/c", "Config": map[string]any{"Labels": map[string]string{"a": "<b>"}}, "OnlyOld": 5}),
		"GET /networks/n":        reply(200, map[string]any{"Id": "2", "Name": "n"}),
		"GET /volumes/n":         refuse(501, "no volumes yet"), "GET /volumes/nope": refuse(501, "no volumes yet"),
	}.ServeHTTP)
	for _, c := range []struct {
		args     []string
		out, err string
		code     int
	}{
		{[]string{"inspect", "-f", "{{.Name}}", "c", "n"}, "/c\nn\n", "", 0},
		{[]string{"inspect", "-f", "{{.OnlyOld}}", "c"}, "5\n", "", 0},
		{[]string{"inspect", "-f", "{{.Id}}{{.ID}}", "c"}, "", "template parsing error", 1},
		{[]string{"inspect", "-f", "{{json .Config.Labels}}", "c"}, `{"a":"<b>"}` + "\n", "", 0},
		{[]string{"inspect", "-f", "{{", "c"}, "", "template parsing error", 64},
		{[]string{"inspect", "nope"}, "[]\n", "Error: No such object: nope\n", 1},
		{[]string{"inspect", "--type", "image", "c"}, "[]\n", "No such container", 1},
		{[]string{"inspect", "--type", "foo", "c"}, "[]\n", "unknown type", 1},
		{[]string{"container", "inspect", "-f", "{{.Name}}", "c", "nope"}, "/c\n", "No such container", 1},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			got := runCLI(c.args...)
			if got.code != c.code || got.out != c.out || !strings.Contains(got.err, c.err) {
				t.Errorf("got %+v", got)
			}
		})
	}
	got := runCLI("inspect", "c", "nope", "n")
	if got.code != 1 || !strings.HasPrefix(got.out, "[\n    {\n        \"Config\"") || !strings.Contains(got.out, `"a": "\u003cb\u003e"`) || !strings.Contains(got.out, `"Id": "2"`) {
		t.Errorf("partial: %+v", got)
	}
}

func TestUsageErrors(t *testing.T) {
	t.Setenv("SAMPAN_HOST", "unix:///nonexistent/socket")
	for _, c := range []struct {
		args, err string
		code      int
	}{
		{"run --bogus x", "unknown flag: --bogus\nSee 'sampan run --help'.\n", 125},
		{"run --detahc x", "unknown flag: --detahc\nDid you mean '--detach'?\nSee 'sampan run --help'.\n", 125},
		{"container run --bogus x", "unknown flag: --bogus\nSee 'sampan container run --help'.\n", 125},
		{"rnu", "sampan: 'rnu' is not a sampan command.\nDid you mean 'run'?\nSee 'sampan --help'.\n", 1},
		{"container foo", "sampan container: 'foo' is not a sampan command.\nSee 'sampan container --help'.\n", 1},
		{"help nosuch", "sampan: 'nosuch' is not a sampan command.\nSee 'sampan --help'.\n", 1},
		{"help container rnu", "sampan container: 'rnu' is not a sampan command.\nDid you mean 'run'?\n", 1},
		{"system prune -f --filter foo=bar", "invalid filter 'foo': system prune has until, label, label!\n", 1},
		{"system prune -f --volumes --filter until=1h", "the \"until\" filter is not supported with \"--volumes\"", 1},
		{"run", "\"sampan run\" requires at least 1 argument.\nSee 'sampan run --help'.\n\nUsage:  sampan run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nCreate and run a container from an image\n", 1},
		{"ps x", "\"sampan ps\" accepts no arguments.", 1},
		{"tag x", "\"sampan tag\" requires exactly 2 arguments.", 1},
		{"cp a b", "must specify at least one container source\n", 1},
		{"swarm init", "sampan swarm init: this command is not supported yet by Sampan\n", 1},
		{"plugin set", "sampan plugin set: this command is not supported yet by Sampan\n", 1},
		{"volume create --sharing all x", "--sharing is not supported yet: ", 1},
		{"start --checkpoint x c d", "you cannot restore multiple containers at once", 1},
		{"checkpoint create c", "\"sampan checkpoint create\" requires exactly 2 arguments.", 1},
		{"run --use-api-socket x", "sampan: --use-api-socket is not supported yet: ", 125},
		{"-c other ps", "context \"other\" does not exist\n", 1},
		{"-H ssh://x ps", "ssh:// hosts are not supported yet", 1},
		{"-H unix://rel ps", "must be absolute", 1},
		{"run -it x", "the input device is not a TTY", 1},
		{"stop -t x c", "invalid argument \"x\" for \"-t, --timeout\" flag", 125},
		{"ps", "Cannot connect to the Sampan daemon at unix:///nonexistent/socket. Is the sampand daemon running? (the socket does not exist; ", 1},
		{"run x", "Cannot connect to the Sampan daemon at unix:///nonexistent/socket.", 125},
	} {
		t.Run(c.args, func(t *testing.T) {
			got := runCLI(strings.Split(c.args, " ")...)
			if got.code != c.code || !strings.HasPrefix(got.err, c.err) && !strings.Contains(got.err, c.err) || got.out != "" {
				t.Errorf("got code %d, %q, %q", got.code, got.out, got.err)
			}
		})
	}
}

func TestCalledAsDocker(t *testing.T) {
	var out, errw strings.Builder
	code := Main([]string{"/usr/local/bin/docker", "run", "--bogus"}, strings.NewReader(""), &out, &errw)
	if code != 125 || errw.String() != "unknown flag: --bogus\nSee 'docker run --help'.\n" {
		t.Errorf("code %d, %q", code, errw.String())
	}
}

func TestCompletion(t *testing.T) {
	fakeDaemon(t, route{
		"GET /containers/json": reply(200, []map[string]any{
			{"Names": []string{"/web"}, "State": "running"}, {"Names": []string{"/old"}, "State": "exited"}, {"Names": []string{"/evil\x1b[2J"}, "State": "running"},
		}),
		"GET /images/json": reply(200, []map[string]any{{"RepoTags": []string{"bb:latest", "<none>:<none>"}}}),
	}.ServeHTTP)
	for args, want := range map[string]string{
		"stop ": "web", "rm ": "old\nweb", "run ": "bb:latest", "exec ": "web", "rm web ": "old", "run --pull ": "always\nmissing\nnever",
	} {
		t.Run(args, func(t *testing.T) {
			got := runCLI(append([]string{"__complete"}, strings.Split(args, " ")...)...)
			names, _, _ := strings.Cut(got.out, "\n:")
			if got.code != 0 || names != want {
				t.Errorf("suggested %q, want %q (%+v)", names, want, got)
			}
		})
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := runCLI("completion", shell); got.code != 0 || !strings.Contains(got.out, "__complete") {
			t.Errorf("completion %s: code %d", shell, got.code)
		}
	}
}
