package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/cli/pty"
)

// mainEnv makes the test binary the program itself.
const mainEnv = "SAMPAN_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// ttyRoutes is a container with a terminal that echoes what is typed, in
// brackets, until it reads "exit".
func ttyRoutes(sizes chan<- string) route {
	ended := make(chan struct{})
	return route{
		"POST /containers/create": reply(201, map[string]any{"Id": "tty"}),
		"POST /containers/tty/attach": hijack(func(conn io.ReadWriter) {
			fmt.Fprint(conn, "prompt>")
			buf := make([]byte, 100)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				if string(buf[:n]) == "exit" {
					close(ended)
					return
				}
				fmt.Fprintf(conn, "[%s]", buf[:n])
			}
		}),
		"POST /containers/tty/start": reply(204, nil),
		"POST /containers/tty/resize": func(w http.ResponseWriter, r *http.Request) {
			sizes <- r.URL.Query().Get("h") + "x" + r.URL.Query().Get("w")
		},
		"POST /containers/tty/wait": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-ended
			fmt.Fprint(w, `{"StatusCode":5}`)
		},
		"GET /containers/json": reply(200, []map[string]any{{"Id": "evil", "Names": []string{"/x"}, "Image": "i\x1b[2J", "Command": "c", "Status": "up\u009b1m"}}),
	}
}

// screen collects what a terminal shows.
type screen struct {
	t    *testing.T
	text strings.Builder
	new  chan string
}

func watch(t *testing.T, master io.Reader) *screen {
	s := &screen{t: t, new: make(chan string, 100)}
	go func() {
		defer close(s.new)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if n > 0 {
				s.new <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *screen) until(want string) {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(s.text.String(), want) {
		select {
		case piece, ok := <-s.new:
			if !ok {
				s.t.Fatalf("ended without %q; shown: %q", want, s.text.String())
			}
			s.text.WriteString(piece)
		case <-deadline:
			s.t.Fatalf("%q was not shown; shown: %q", want, s.text.String())
		}
	}
}

func startTTY(t *testing.T, args ...string) (cmd *exec.Cmd, master, tty *os.File) {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Resize(tty, 30, 100); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	pty.Attach(cmd, tty)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		master.Close()
		tty.Close()
	})
	return cmd, master, tty
}

func typeKeys(t *testing.T, w io.Writer, keys string) {
	t.Helper()
	if _, err := io.WriteString(w, keys); err != nil {
		t.Fatal(err)
	}
}

func nextSize(t *testing.T, sizes <-chan string, want string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case got := <-sizes:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("the size %s was not sent", want)
		}
	}
}

// TestTerminalSession: keys go raw to the container, sizes follow, and the
// container's exit code and the old mode of the terminal come back.
func TestTerminalSession(t *testing.T) {
	sizes := make(chan string, 100)
	fakeDaemon(t, ttyRoutes(sizes).ServeHTTP)
	cmd, master, tty := startTTY(t, "run", "-it", "image")
	s := watch(t, master)
	s.until("prompt>")
	typeKeys(t, master, "\x03")
	s.until("[\x03]")
	nextSize(t, sizes, "30x100")
	if raw, err := pty.Raw(tty); !raw || err != nil {
		t.Errorf("not in raw mode (%v)", err)
	}
	if err := pty.Resize(tty, 40, 120); err != nil {
		t.Fatal(err)
	}
	nextSize(t, sizes, "40x120")
	typeKeys(t, master, "exit")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("ended with %v", err)
	}
	if raw, err := pty.Raw(tty); raw || err != nil {
		t.Errorf("left raw (%v)", err)
	}
}

// TestDetachKeys: the keys end the program with 0, the container goes on.
func TestDetachKeys(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		keys string
	}{
		"default": {[]string{"run", "-it", "image"}, "\x10\x11"},
		"flag":    {[]string{"run", "-it", "--detach-keys", "ctrl-x,x", "image"}, "\x18x"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeDaemon(t, ttyRoutes(make(chan string, 100)).ServeHTTP)
			cmd, master, tty := startTTY(t, c.args...)
			s := watch(t, master)
			s.until("prompt>")
			typeKeys(t, master, "ls")
			s.until("[ls]")
			typeKeys(t, master, c.keys)
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended with %v", err)
			}
			if raw, err := pty.Raw(tty); raw || err != nil {
				t.Errorf("left raw (%v)", err)
			}
		})
	}
}

// TestControlBytesOnATerminal: names and states cannot act on the terminal.
func TestControlBytesOnATerminal(t *testing.T) {
	fakeDaemon(t, ttyRoutes(nil).ServeHTTP)
	cmd, master, _ := startTTY(t, "ps")
	s := watch(t, master)
	s.until(`i\x1b[2J`)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	s.until("evil")
	if strings.ContainsAny(s.text.String(), "\x1b\u009b") {
		t.Errorf("shown %q", s.text.String())
	}
}
