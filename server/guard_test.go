package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{AllowedHosts: []string{"build.example"}})
	s.Handle("POST /x", func(c *Call) error { return c.NoContent() })
	s.Handle("GET /x", func(c *Call) error { return c.NoContent() })
	h := func(kv ...string) http.Header {
		header := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			header.Set(kv[i], kv[i+1])
		}
		return header
	}
	cases := []struct {
		name   string
		over   origin
		host   string
		header http.Header
		want   int
	}{
		{"address", overTCP, "192.0.2.1:2375", h(), 204},
		{"IPv6 address", overTCP, "[::1]:2375", h(), 204},
		{"localhost", overTCP, "localhost:2375", h(), 204},
		{"own name", overTCP, hostname + ":2375", h(), 204},
		{"allowed name", overTCP, "BUILD.example.", h(), 204},
		{"rebound name", overTCP, "evil.example:2375", h(), 403},
		{"name that starts like an address", overTCP, "127.0.0.1.evil.example", h(), 403},
		{"no host", overTCP, "", h(), 403},
		{"rebound name over TLS fails at the certificate", overTLS, "evil.example", h(), 204},
		{"page of another site", overTCP, "127.0.0.1:2375", h("Origin", "http://evil.example"), 403},
		{"page of another site over TLS", overTLS, "127.0.0.1:2376", h("Origin", "https://evil.example"), 403},
		{"page of nowhere", overTCP, "127.0.0.1:2375", h("Origin", "null"), 403},
		{"page on another port", overTCP, "127.0.0.1:2375", h("Origin", "http://127.0.0.1:80"), 403},
		{"own page", overTCP, "127.0.0.1:2375", h("Origin", "http://127.0.0.1:2375"), 204},
		{"cross-site fetch", overTCP, "127.0.0.1:2375", h("Sec-Fetch-Site", "cross-site"), 403},
		{"own fetch", overTCP, "127.0.0.1:2375", h("Sec-Fetch-Site", "same-origin"), 204},
		{"form", overTCP, "127.0.0.1:2375", h("Content-Type", "application/x-www-form-urlencoded"), 403},
		{"form with files", overTCP, "127.0.0.1:2375", h("Content-Type", "multipart/form-data; boundary=x"), 403},
		{"anything on the socket", overUnix, "docker", h("Content-Type", "application/x-www-form-urlencoded", "Origin", "x"), 204},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/x", strings.NewReader(""))
			r = r.WithContext(context.WithValue(r.Context(), originKey{}, tc.over))
			r.Host, r.Header = tc.host, tc.header
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tc.want)
			}
		})
	}
}
