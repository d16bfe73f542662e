package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/health"
)

// server answers each connection with a text, and keeps it open if hang is set.
func server(t *testing.T, answer string, hang bool) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var request [1024]byte
				conn.Read(request[:])
				conn.Write([]byte(answer))
				if hang {
					conn.Read(request[:]) // until the other side goes
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func own(t *testing.T) *os.File {
	t.Helper()
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// What answers is the container's: whatever it sends, a probe ends in time, with
// bounded text.
func TestAsk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("entering a network namespace needs root")
	}
	for _, tc := range []struct {
		name, answer string
		hang, well   bool
		says         string
	}{
		{"fine", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, true, "HTTP/1.1 200 OK\nhello"},
		{"no content", "HTTP/1.0 204 No Content\r\n\r\n", false, true, "204"},
		{"moved", "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", false, true, "302"},
		{"not well", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", false, false, "503 Service Unavailable\nbusy"},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", false, false, ""},
		{"nothing", "", false, false, ""},
		{"silence", "", true, false, ""},
		{"half an answer", "HTTP/1.1 200 OK\r\nContent-", true, false, ""},
		{"headers without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 1000), true, false, ""},
		{"a long body", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("z", 1000000), false, true, "200 OK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := server(t, tc.answer, tc.hang)
			d := &direct{check: health.Direct{HTTP: true, Port: to.Port(), Path: "/"}, ns: own(t)}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			conn, err := d.connect(ctx, to)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			text, err := d.ask(conn)
			if (err == nil) != tc.well || !strings.Contains(text, tc.says) || len(text) > health.MaxOutput+100 {
				t.Errorf("%.200q, %v", text, err)
			}
		})
	}
}

func TestConnectRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("entering a network namespace needs root")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	d := &direct{ns: own(t)}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := d.connect(ctx, to); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a port that nobody listens on: %v", err)
	}
}
