package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What we send must be what net/http reads.
func TestRequestIsRead(t *testing.T) {
	big := strings.Repeat("x", 200<<10)
	for name, tt := range map[string]struct {
		r    Request
		body string
		size int64
	}{
		"get":    {Request{Method: Get, Host: "h", Target: "/a?b=c"}, "", 0},
		"empty":  {Request{Method: Post, Host: "h", Target: "/a"}, "", 0},
		"body":   {Request{Method: Post, Host: "h", Target: "/a", Body: []byte("hello")}, "hello", 5},
		"stream": {Request{Method: Put, Host: "h", Target: "/a", Stream: strings.NewReader(big)}, big, -1},
		"late":   {Request{Method: Post, Host: "h", Target: "/a", Late: func() ([]byte, error) { return []byte("hello"), nil }}, "hello", -1},
		"breaks": {Request{Method: Get, Host: "h", Target: "/a", Header: Header{"X": {"1\r\nEvil: 2"}}}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tt.r.Write(&b); err != nil {
				t.Fatal(err)
			}
			got, err := http.ReadRequest(bufio.NewReader(&b))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(got.Body)
			if err != nil || string(body) != tt.body || got.ContentLength != tt.size || got.Method != tt.r.Method ||
				got.RequestURI != tt.r.Target || got.Host != "h" || got.Header.Get("Evil") != "" {
				t.Errorf("read %+v with %d bytes, %v", got, len(body), err)
			}
		})
	}
}

func TestReadResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		text, method string
		code         int
		body         string
		close, fails bool
	}{
		"length":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhirest", Get, 200, "hi", false, false},
		"chunks":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\nyou\r\n0\r\nT: 1\r\n\r\n", Get, 200, "hiyou", false, false},
		"to the end":   {"HTTP/1.1 200 OK\r\n\r\nall", Get, 200, "all", true, false},
		"head":         {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", Head, 200, "", false, false},
		"no content":   {"HTTP/1.1 204 No Content\r\n\r\n", Post, 204, "", false, false},
		"upgrade":      {"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\nraw", Post, 101, "raw", true, false},
		"continue":     {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Post, 200, "", false, false},
		"old":          {"HTTP/1.0 200 OK\r\n\r\nx", Get, 200, "x", true, false},
		"close":        {"HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 1\r\n\r\nx", Get, 200, "x", true, false},
		"cut length":   {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", Get, 200, "hi", false, true},
		"cut chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi", Get, 200, "hi", false, true},
		"no last":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", Get, 200, "hi", false, true},
		"bad chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhix\r\n", Get, 200, "hi", false, true},
		"no size":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", Get, 200, "", false, true},
		"two lengths":  {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", Get, 0, "", false, true},
		"negative":     {"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi", Get, 0, "", false, true},
		"not http":     {"\x15\x03\x01\x00\x02\x02\x16", Get, 0, "", false, true},
		"no header":    {"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", Get, 0, "", false, true},
		"odd code":     {"HTTP/1.1 2000 OK\r\n\r\n", Get, 0, "", false, true},
		"endless head": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", MaxHead), Get, 0, "", false, true},
		"cut head":     {"HTTP/1.1 200 OK\r\nX: y", Get, 0, "", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := ReadResponse(bufio.NewReader(strings.NewReader(tt.text)), tt.method)
			if err != nil {
				if !tt.fails || tt.code != 0 {
					t.Fatal(err)
				}
				return
			}
			body, err := io.ReadAll(resp.Body)
			if resp.Code != tt.code || string(body) != tt.body || resp.Close != tt.close || (err != nil) != tt.fails {
				t.Errorf("got %+v, body %q, %v", resp, body, err)
			}
		})
	}
}

func FuzzReadResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, text []byte) {
		resp, err := ReadResponse(bufio.NewReader(bytes.NewReader(text)), Get)
		if err != nil {
			return
		}
		// A body ends, and cannot have more bytes than came.
		n, err := io.Copy(io.Discard, resp.Body)
		if n > int64(len(text)) || errors.Is(err, io.EOF) {
			t.Errorf("%d bytes of %d, %v", n, len(text), err)
		}
	})
}

// An event must be delivered when it comes, not when the next one does.
func TestChunkIsNotHeldBack(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
	resp, err := ReadResponse(bufio.NewReader(r), Get)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 9)
	if n, err := resp.Body.Read(got); err != nil || string(got[:n]) != "hi" {
		t.Errorf("%q, %v", got[:n], err)
	}
}
