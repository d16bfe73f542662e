package connect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/tlspipe"
)

func TestFindHost(t *testing.T) {
	for _, c := range []struct {
		name, flag, sampan, docker string
		tls                        bool
		want, err                  string
	}{
		{name: "default", want: "unix:///run/sampan/sampan.sock"},
		{name: "flag first", flag: "unix:///a", sampan: "unix:///b", docker: "unix:///c", want: "unix:///a"},
		{name: "ours before docker's", sampan: "unix:///b", docker: "unix:///c", want: "unix:///b"},
		{name: "docker's", docker: "tcp://h", want: "tcp://h:2375"},
		{name: "tls port", flag: "tcp://h", tls: true, want: "tcp://h:2376"},
		{name: "bare address", flag: "h:99", want: "tcp://h:99"},
		{name: "IPv6", flag: "tcp://[::1]:99", want: "tcp://[::1]:99"},
		{name: "path", flag: "tcp://h:1/base/", want: "tcp://h:1/base"},
		{name: "no name", flag: "tcp://:99", want: "tcp://localhost:99"},
		{name: "relative socket", flag: "unix://x", err: "must be absolute"},
		{name: "ssh", flag: "ssh://h", err: "not supported yet"},
		{name: "scheme", docker: "gopher://h", err: "DOCKER_HOST: \"gopher://h\": unknown scheme"},
		{name: "query", flag: "tcp://h?x=1", err: "is not tcp://"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SAMPAN_HOST", c.sampan)
			t.Setenv("DOCKER_HOST", c.docker)
			got, err := findHost(c.flag, c.tls)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil || got.host != c.want {
				t.Errorf("got %q, %v; want %q", got.host, err, c.want)
			}
		})
	}
}

// dialDaemon serves h on a socket and connects to it.
func dialDaemon(t *testing.T, h http.Handler) *Conn {
	t.Helper()
	dir, err := os.MkdirTemp("", "conn")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); os.RemoveAll(dir) })
	c, err := New(Options{Host: "unix://" + filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHijackRefused(t *testing.T) {
	for name, c := range map[string]struct {
		body, want string
	}{
		"json":  {`{"message":"no such exec"}`, "Error response from daemon: no such exec"},
		"text":  {"plain words\n", "Error response from daemon: plain words"},
		"empty": {"", "the daemon answered 409 Conflict and gave no reason"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialDaemon(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, c.body)
			}))
			_, err := conn.Hijack(t.Context(), "/exec/x/start", nil, map[string]bool{"Tty": true})
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestHijackOldDaemon: the stream is opened with the version that was named,
// and data that came along with the header is not lost.
func TestHijackOldDaemon(t *testing.T) {
	conn := dialDaemon(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1.40/") {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"message":"client version is too new. Maximum supported API version is 1.40"}`)
			return
		}
		if r.URL.Query().Get("stdin") != "1" || r.Header.Get("Upgrade") != "tcp" {
			t.Errorf("request %v %v", r.URL, r.Header)
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello")
	}))
	s, err := conn.Hijack(t.Context(), "/containers/x/attach", url.Values{"stdin": {"1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := io.ReadAll(s.Reader); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if conn.APIVersion() != "1.40" {
		t.Errorf("version %s", conn.APIVersion())
	}
}

func TestFixedVersionIsNotLowered(t *testing.T) {
	t.Setenv("DOCKER_API_VERSION", "1.50")
	requests := 0
	conn := dialDaemon(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"message":"client version 1.50 is too new. Maximum supported API version is 1.40"}`)
	}))
	_, err := conn.Info(t.Context(), client.InfoOptions{})
	if err == nil || !strings.Contains(err.Error(), "too new") || requests != 1 {
		t.Errorf("%d requests, %v", requests, err)
	}
}

func TestSettle(t *testing.T) {
	conn := dialDaemon(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Api-Version", "1.41") }))
	if err := conn.Settle(t.Context()); err != nil || conn.APIVersion() != "1.41" {
		t.Errorf("version %s, %v", conn.APIVersion(), err)
	}
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/dead")
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for host, reason := range map[string]string{
		"unix://" + dir + "/none": "the socket does not exist", "unix://" + dir + "/dead": "nothing listens there", "tcp://127.0.0.1:1": "nothing listens there",
	} {
		c, err := New(Options{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Info(t.Context(), client.InfoOptions{})
		var gone *NoDaemonError
		if !errors.As(err, &gone) || gone.Reason != reason || !Unreachable(err) {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := c.Hijack(t.Context(), "/x", nil, nil); !errors.As(err, &gone) {
			t.Errorf("%s: hijack: %v", host, err)
		}
	}
}

func TestHijackIsCancelled(t *testing.T) {
	arrived := make(chan struct{})
	conn := dialDaemon(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := conn.Hijack(ctx, "/x", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestTLS: requests and streams are encrypted, and an unknown server is
// refused.
func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			fmt.Fprint(w, "{}")
			return
		}
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nsecret")
	}))
	srv.StartTLS()
	defer srv.Close()
	host := "tcp://" + srv.Listener.Addr().String()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	pemText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, pemText, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CERT_PATH", t.TempDir())
	c, err := New(Options{Host: host, TLSProgram: os.Args[0], TLS: TLS{Verify: true, VerifySet: true, CA: ca, CASet: true}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Info(t.Context(), client.InfoOptions{}); err != nil {
		t.Errorf("request: %v", err)
	}
	s, err := c.Hijack(t.Context(), "/x", nil, nil)
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	defer s.Close()
	if got, err := io.ReadAll(s.Reader); string(got) != "secret" {
		t.Errorf("read %q, %v", got, err)
	}
	other := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(other, strangersCA(t), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err = New(Options{Host: host, TLSProgram: os.Args[0], TLS: TLS{Verify: true, VerifySet: true, CA: other, CASet: true}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Info(t.Context(), client.InfoOptions{}); err == nil {
		t.Error("a server with an unknown certificate was accepted")
	}
	if _, err := c.Hijack(t.Context(), "/x", nil, nil); err == nil {
		t.Error("a stream to a server with an unknown certificate was opened")
	}
	// The flag's "false" takes back the verification, not the encryption.
	c, err = New(Options{Host: host, TLSProgram: os.Args[0], TLS: TLS{VerifySet: true}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Info(t.Context(), client.InfoOptions{}); err != nil {
		t.Errorf("request with --tlsverify=false: %v", err)
	}
}

// TestMain lets the tests' program be the one that speaks TLS.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == tlspipe.Verb {
		os.Exit(tlspipe.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func strangersCA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
