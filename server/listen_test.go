package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "api.sock")
	// A socket that nobody serves, as a killed daemon leaves it.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()

	l, err := Listen("unix://"+path, ListenConfig{Group: "1"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o660 || st.Uid != uint32(os.Geteuid()) || st.Gid != 1 {
		t.Errorf("mode %v, owner %d:%d", info.Mode(), st.Uid, st.Gid)
	}
	if got := l[0].Addr().String(); got != path {
		t.Errorf("address %s", got)
	}
	if _, err := Listen("unix://"+path, ListenConfig{}); !errors.Is(err, fault.Conflict) {
		t.Errorf("a served socket: %v, want conflict", err)
	}
	l[0].Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left after Close: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestCloseKeepsASuccessorsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	old, err := Listen("unix://"+path, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor, err := Listen("unix://"+path, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer successor[0].Close()
	old[0].Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, address string
		cfg           ListenConfig
		class         *fault.Class
	}{
		{"no scheme", "/run/x.sock", ListenConfig{}, fault.Invalid},
		{"unknown scheme", "http://127.0.0.1:1", ListenConfig{}, fault.Invalid},
		{"relative path", "unix://x.sock", ListenConfig{}, fault.Invalid},
		{"a file in the way", "unix://" + file, ListenConfig{}, fault.Conflict},
		{"unknown group", "unix://" + filepath.Join(dir, "s"), ListenConfig{Group: "no-such-group"}, fault.Invalid},
		{"plain TCP", "tcp://127.0.0.1:0", ListenConfig{}, fault.Forbidden},
		{"TLS without client certificates", "tcp://127.0.0.1:0", ListenConfig{TLS: &tls.Config{}}, fault.Forbidden},
		{"no sockets from systemd", "fd://", ListenConfig{}, fault.Invalid},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Listen(tc.address, tc.cfg); !errors.Is(err, tc.class) {
				t.Errorf("%v, want %v", err, tc.class)
			}
		})
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != "precious" {
		t.Errorf("the file in the way was changed: %q %v", kept, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestListenTCPWhenAllowed(t *testing.T) {
	l, err := Listen("tcp://127.0.0.1:0", ListenConfig{AllowPlainTCP: true})
	if err != nil {
		t.Fatal(err)
	}
	l[0].Close()
}

// certificates writes an authority and a certificate that it signed, which
// serves for both sides.
func certificates(t *testing.T) TLSFiles {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := TLSFiles{CA: filepath.Join(dir, "cert"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), Verify: true}
	for path, block := range map[string]*pem.Block{f.Cert: {Type: "CERTIFICATE", Bytes: der}, f.Key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// serveTLS serves s with client certificates demanded.
func serveTLS(t *testing.T, s *Server) (address string, client *tls.Config) {
	t.Helper()
	files := certificates(t)
	cfg, err := LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("tcp://127.0.0.1:0", ListenConfig{TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l[0]) }()
	t.Cleanup(func() {
		s.http.Close()
		<-done
	})
	return l[0].Addr().String(), &tls.Config{RootCAs: cfg.ClientCAs, Certificates: cfg.Certificates}
}

func TestTLSDemandsACertificate(t *testing.T) {
	s, _ := newTestServer(t)
	s.Handle("GET /x", func(c *Call) error { return c.JSON(200, "hello") })
	address, client := serveTLS(t, s)
	get := func(cfg *tls.Config) (string, error) {
		transport := &http.Transport{TLSClientConfig: cfg}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://" + address + "/x")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if body, err := get(client); err != nil || body != "\"hello\"\n" {
		t.Errorf("with a certificate: %q %v", body, err)
	}
	if body, err := get(&tls.Config{RootCAs: client.RootCAs}); err == nil {
		t.Errorf("without a certificate: %q", body)
	}
}

func TestLoadTLSRefuses(t *testing.T) {
	good := certificates(t)
	for name, files := range map[string]TLSFiles{
		"no certificate": {Cert: "/nowhere", Key: good.Key}, "no authority": {Cert: good.Cert, Key: good.Key, CA: "/nowhere", Verify: true},
		"a key as authority": {Cert: good.Cert, Key: good.Key, CA: good.Key, Verify: true},
	} {
		if _, err := LoadTLS(files); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestListenFD starts itself again as systemd would start a daemon: with a
// listening socket as descriptor 3.
func TestListenFD(t *testing.T) {
	const inChild = "SAMPAN_TEST_LISTEN_FD"
	if os.Getenv(inChild) != "" {
		t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		if _, err := Listen("fd://4", ListenConfig{}); !errors.Is(err, fault.Invalid) {
			t.Fatalf("a socket that was not passed: %v", err)
		}
		l, err := Listen("fd://", ListenConfig{})
		if err != nil || len(l) != 1 {
			t.Fatal(l, err)
		}
		conn, err := l[0].Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "served")
		conn.Close()
		return
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestListenFD$")
	cmd.Env = append(os.Environ(), inChild+"=1", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A child that fails never answers; its end is what must not be waited for.
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if waitErr := cmd.Wait(); waitErr != nil || err != nil || string(got) != "served" {
		t.Errorf("%q %v, child: %v", got, err, waitErr)
	}
}
