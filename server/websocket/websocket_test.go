package websocket

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func TestAccept(t *testing.T) {
	good := func() http.Header {
		return http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	}
	// The key and its answer are those of section 1.3.
	if got, err := Accept(good()); err != nil || got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("%q, %v", got, err)
	}
	for key, value := range map[string]string{"Connection": "close", "Upgrade": "tcp", "Sec-Websocket-Version": "8", "Sec-Websocket-Key": "short"} {
		h := good()
		h.Set(key, value)
		if _, err := Accept(h); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %s: %v", key, value, err)
		}
	}
}

// frameOf masks as a client does.
func frameOf(first byte, payload string) []byte {
	mask := []byte{1, 2, 3, 4}
	f := append([]byte{first, masked | byte(len(payload))}, mask...)
	for i := range len(payload) {
		f = append(f, payload[i]^mask[i&3])
	}
	return f
}

func TestRead(t *testing.T) {
	var in, out bytes.Buffer
	in.Write(frameOf(Text, "hel")) // a fragment
	in.Write(frameOf(final|ping, "now"))
	in.Write(frameOf(final|continuation, "lo "))
	in.Write(frameOf(final|pong, ""))
	in.Write(frameOf(final|Binary, "world"))
	in.Write(frameOf(final|closing, "\x03\xe8bye"))
	in.WriteString("never read")
	c := New(&in, &out, Binary)
	got, err := io.ReadAll(c)
	_, _ = c.Write([]byte("late"))
	_ = c.CloseWrite()
	if err != nil || string(got) != "hello world" {
		t.Errorf("%q, %v", got, err)
	}
	if want := "\x8a\x03now\x88\x02\x03\xe8"; out.String() != want {
		t.Errorf("answered %q, want %q", out.String(), want)
	}
}

func TestWrite(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		var out bytes.Buffer
		if _, err := New(nil, &out, Text).Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		head := map[int]int{0: 2, 125: 2, 126: 4, 65535: 4, 65536: 10}[n]
		if out.Len() != n+head || out.Bytes()[0] != final|Text {
			t.Errorf("%d bytes make a frame of %d beginning with %x", n, out.Len(), out.Bytes()[0])
		}
	}
}

func TestBrokenFramesAreRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"not masked": "\x82\x01a", "reserved bit": "\xc2\x80aaaa", "unknown opcode": "\x83\x80aaaa", "long ping": "\x89\xfe\x01\x00aaaa",
		"fragmented ping": "\x09\x80aaaa", "negative length": "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffaaaa",
	} {
		if _, err := io.ReadAll(New(bytes.NewReader([]byte(raw)), io.Discard, Binary)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x82\x85aaaaabcde\x88\x80aaaa"))
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\xff\xff\xff\xffaaaa"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, _ := io.ReadAll(New(bytes.NewReader(raw), io.Discard, Binary))
		if len(got) > len(raw) {
			t.Errorf("%d bytes came of %d", len(got), len(raw))
		}
	})
}
