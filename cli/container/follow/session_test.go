package follow

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

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
				s := &Session{Stream: &connect.Stream{}}
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
		s := &Session{Stream: &connect.Stream{}}
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
