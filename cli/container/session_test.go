package container

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/cli/connect"
)

func frameOf(kind byte, text string) string {
	h := make([]byte, frameHeader)
	h[0] = kind
	binary.BigEndian.PutUint32(h[4:], uint32(len(text)))
	return string(h) + text
}

func TestDemultiplex(t *testing.T) {
	big := strings.Repeat("x", 300_000)
	for _, c := range []struct {
		name, in, out, err, fails string
		ended                     bool
		code                      int
	}{
		{name: "empty"},
		{name: "both", in: frameOf(1, "a") + frameOf(2, "b") + frameOf(1, "c"), out: "ac", err: "b"},
		{name: "larger than the buffer", in: frameOf(1, big) + frameOf(2, big), out: big, err: big},
		{name: "empty frame", in: frameOf(1, "") + frameOf(1, "x"), out: "x"},
		{name: "cut in the header", in: frameOf(1, "a") + "\x01\x00", out: "a", fails: io.ErrUnexpectedEOF.Error()},
		{name: "cut in the text", in: frameOf(1, "abc")[:10], out: "ab", fails: io.ErrUnexpectedEOF.Error()},
		{name: "error of the daemon", in: frameOf(3, "gone"), fails: "gone"},
		{name: "exit code", in: frameOf(1, "a") + frameOf(4, "\x00\x00\x00\x89"), out: "a", ended: true, code: 137},
		{name: "error after the exit code", in: frameOf(4, "\x00\x00\x00\x00") + frameOf(3, "gone"), ended: true, fails: "gone"},
		{name: "bad exit code", in: frameOf(4, "\x00"), fails: "exit code"},
		{name: "not frames", in: "HTTP/1.1 200 OK", fails: "unknown type 72"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{"at once": strings.NewReader(c.in), "bytewise": iotest.OneByteReader(strings.NewReader(c.in))} {
				var out, errw bytes.Buffer
				s := &session{stream: &connect.Stream{}}
				err := s.demultiplex(&out, &errw, bufio.NewReader(r))
				if s.ended != c.ended || s.code != c.code {
					t.Errorf("%s: ended %t with %d, want %t with %d", how, s.ended, s.code, c.ended, c.code)
				}
				if out.String() != c.out || errw.String() != c.err {
					t.Errorf("%s: %d and %d bytes, want %d and %d", how, out.Len(), errw.Len(), len(c.out), len(c.err))
				}
				if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%s: error %v, want %q", how, err, c.fails)
				}
			}
		})
	}
}

func FuzzDemultiplex(f *testing.F) {
	f.Add([]byte(frameOf(1, "a") + frameOf(2, "b")))
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var n counter
		s := &session{stream: &connect.Stream{}}
		err := s.demultiplex(&n, &n, bufio.NewReader(bytes.NewReader(data)))
		if int(n) > len(data) {
			t.Errorf("%d bytes out of %d", n, len(data))
		}
		if errors.Is(err, io.EOF) {
			t.Error("the end of a stream is no error")
		}
	})
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func TestPortList(t *testing.T) {
	p := func(ip string, private, public uint16, proto string) container.PortSummary {
		s := container.PortSummary{PrivatePort: private, PublicPort: public, Type: proto}
		if ip != "" {
			s.IP = netip.MustParseAddr(ip)
		}
		return s
	}
	// The expected texts were printed by docker/cli for the same ports.
	for want, ports := range map[string][]container.PortSummary{
		"":                                    nil,
		"80/tcp":                              {p("", 80, 0, "tcp")},
		"80-82/tcp":                           {p("", 81, 0, "tcp"), p("", 80, 0, "tcp"), p("", 82, 0, "tcp")},
		"0.0.0.0:80->80/tcp, [::]:80->80/tcp": {p("::", 80, 80, "tcp"), p("0.0.0.0", 80, 80, "tcp")},
		"0.0.0.0:8080->80/tcp":                {p("0.0.0.0", 80, 8080, "tcp")},
		"0.0.0.0:9000-9001->9000-9001/udp":    {p("0.0.0.0", 9001, 9001, "udp"), p("0.0.0.0", 9000, 9000, "udp")},
		"0.0.0.0:9000-9002->9000-9002/udp, [::]:9000-9002->9000-9002/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp": {
			p("0.0.0.0", 80, 8080, "tcp"), p("::", 80, 8080, "tcp"),
			p("0.0.0.0", 9000, 9000, "udp"), p("0.0.0.0", 9001, 9001, "udp"), p("0.0.0.0", 9002, 9002, "udp"),
			p("::", 9000, 9000, "udp"), p("::", 9001, 9001, "udp"), p("::", 9002, 9002, "udp"),
		},
	} {
		if got := portList(ports); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
