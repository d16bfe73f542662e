package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

// streams stands for the container service and the shim behind it: it takes
// the connection and, in the background, echoes what comes until its end.
type streams struct {
	tty      bool
	before   error // returned instead of taking the connection
	after    error // returned after taking it
	greeting string
}

func (s streams) serve(take func(bool) (*os.File, []byte, error)) error {
	if s.before != nil {
		return s.before
	}
	conn, ahead, err := take(s.tty)
	if err != nil {
		return err
	}
	if s.after != nil {
		conn.Close()
		return s.after
	}
	go func() {
		defer conn.Close()
		_, _ = io.WriteString(conn, s.greeting)
		_, _ = conn.Write(ahead)
		_, _ = io.Copy(conn, conn)
		_, _ = io.WriteString(conn, "bye")
	}()
	return nil
}

func hijackServer(t *testing.T, st streams) *Server {
	s, _ := newTestServer(t)
	s.Handle("POST /attach", func(c *Call) error {
		h := c.Hijack()
		return h.Refuse(st.serve(h.Take))
	})
	s.Handle("POST /exec", func(c *Call) error {
		h := c.Hijack()
		h.Headers = true
		return h.Finish(st.serve(h.Take))
	})
	return s
}

// talk sends request and input, closes the sending side, and returns all bytes
// that come back.
func talk(t *testing.T, conn net.Conn, request, input string) string {
	t.Helper()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request+input); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%v after %q", err, got)
	}
	return string(got)
}

const (
	upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
	common  = "Api-Version: 1.56\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Sampan/1.2.3 (linux)\r\n"
)

// The expected headers are those of a real Docker daemon, byte for byte but for
// the values of Api-Version and Server.
func TestHijackedStreams(t *testing.T) {
	cases := []struct {
		name, path, header string
		st                 streams
		want               string
	}{
		{"attach, upgraded", "/v1.41/attach", upgrade, streams{}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"},
		{"attach, not upgraded", "/v1.41/attach", "", streams{}, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"},
		{"attach, multiplexed", "/v1.42/attach", upgrade, streams{}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"},
		{"attach, multiplexed, not upgraded", "/v1.42/attach", "", streams{}, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"},
		{"attach, terminal", "/v1.42/attach", upgrade, streams{tty: true}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"},
		{"exec, upgraded", "/v1.41/exec", upgrade, streams{}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" + common + "\r\n"},
		{"exec, not upgraded", "/v1.41/exec", "", streams{}, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n" + common + "\r\n"},
		{"exec, multiplexed", "/exec", upgrade, streams{}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" + common + "\r\n"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tc.st.greeting = "hello "
			path, _ := serveUnix(t, hijackServer(t, tc.st))
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			request := "POST " + tc.path + " HTTP/1.1\r\nHost: d\r\n" + tc.header + "Content-Length: 0\r\n\r\n"
			// The input is sent along with the request, so that a part of it is in
			// the server's buffer already when the connection is taken.
			if got, want := talk(t, conn, request, "typed ahead "), tc.want+"hello typed ahead bye"; got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestLargeInputSurvivesTheHandover(t *testing.T) {
	path, _ := serveUnix(t, hijackServer(t, streams{}))
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	input := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	go func() {
		_, _ = io.WriteString(conn, "POST /v1.41/attach HTTP/1.1\r\nHost: d\r\n"+upgrade+"Content-Length: 0\r\n\r\n"+input)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(got), "\r\n\r\n")
	if body != input+"bye" {
		t.Errorf("%d bytes came back, want %d", len(body), len(input)+3)
	}
}

func TestErrorsAroundTheHandover(t *testing.T) {
	notFound := fault.New(fault.NotFound, "No such container: web")
	broken := errors.New("no such program")
	cases := []struct {
		name, path string
		st         streams
		want       string
	}{
		{"attach before", "/v1.41/attach", streams{before: notFound}, "HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nNo such container: web\r\n"},
		{"attach after", "/v1.41/attach", streams{after: broken}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n\x01\x00\x00\x00\x00\x00\x00\x11no such program\r\n"},
		{"exec after", "/v1.41/exec", streams{after: broken}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" + common + "\r\n\x01\x00\x00\x00\x00\x00\x00\x11no such program\r\n"},
		{"exec after, terminal", "/v1.41/exec", streams{after: broken, tty: true}, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" + common + "\r\nno such program\r\n"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			path, _ := serveUnix(t, hijackServer(t, tc.st))
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			if got := talk(t, conn, "POST "+tc.path+" HTTP/1.1\r\nHost: d\r\n"+upgrade+"Content-Length: 0\r\n\r\n", ""); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
	t.Run("exec before", func(t *testing.T) {
		s := hijackServer(t, streams{before: notFound})
		if w := do(s, "POST", "/v1.41/exec", "", ""); w.Code != 404 || w.Body.String() != "{\"message\":\"No such container: web\"}\n" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// The daemon keeps no descriptor of a stream that it has handed on.
func TestHandoverLeavesNoDescriptor(t *testing.T) {
	path, _ := serveUnix(t, hijackServer(t, streams{}))
	once := func() {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		talk(t, conn, "POST /v1.41/attach HTTP/1.1\r\nHost: d\r\n"+upgrade+"Content-Length: 0\r\n\r\n", "x")
	}
	once()
	before := openDescriptors(t)
	for range 50 {
		once()
	}
	// The last ones may be closing still.
	for deadline := time.Now().Add(10 * time.Second); openDescriptors(t) > before+2; {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, %d before", openDescriptors(t), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestHijackOverTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		st   streams
		want string
	}{
		"stream": {streams{greeting: "hello "}, "hello typed ahead bye"},
		"error":  {streams{after: errors.New("no such program"), tty: true}, "no such program\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			address, cfg := serveTLS(t, hijackServer(t, tc.st))
			conn, err := tls.Dial("tcp", address, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "POST /v1.41/attach HTTP/1.1\r\nHost: d\r\n"+upgrade+"Content-Length: 0\r\n\r\ntyped ahead "); err != nil {
				t.Fatal(err)
			}
			if tc.st.after == nil {
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			r := bufio.NewReader(conn)
			for line := ""; line != "\r\n"; {
				if line, err = r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != tc.want {
				t.Errorf("%q %v, want %q", got, err, tc.want)
			}
		})
	}
}
