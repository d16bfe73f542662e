package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"golang.org/x/sys/unix"
)

// ListenConfig says how the addresses of the API are opened.
type ListenConfig struct {
	// Group may use a UNIX socket besides root; a name or a number. Empty: root only.
	Group string
	// TLS is used on every TCP address; nil means none.
	TLS *tls.Config
	// AllowPlainTCP permits a TCP address without client certificates. Whoever
	// reaches it is root on this machine.
	AllowPlainTCP bool
}

const (
	socketMode  = 0o660
	dialTimeout = time.Second
	firstListen = 3 // SD_LISTEN_FDS_START of sd_listen_fds(3)
)

// Listen opens one address of the form unix:///path, tcp://host:port, or fd://
// (all sockets that systemd passed) or fd://N (one of them).
func Listen(address string, cfg ListenConfig) ([]net.Listener, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return nil, fault.New(fault.Invalid, "listen address %q has no scheme: want unix:///path, tcp://host:port or fd://", address)
	}
	switch scheme {
	case "unix":
		l, err := listenUnix(rest, cfg.Group)
		return []net.Listener{l}, err
	case "tcp":
		l, err := listenTCP(rest, cfg)
		return []net.Listener{l}, err
	case "fd":
		return listenFD(rest)
	}
	return nil, fault.New(fault.Invalid, "listen address %q: unknown scheme %q, want unix, tcp or fd", address, scheme)
}

// listenUnix makes the socket in a private directory, sets its owner and mode,
// and only then moves it into place: nobody can connect in between, and a stale
// socket is replaced in one step.
func listenUnix(path, group string) (net.Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, fault.New(fault.Invalid, "listen on unix://%s: the path must be absolute", path)
	}
	gid := 0
	if group != "" {
		var err error
		if gid, err = lookupGroup(group); err != nil {
			return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
		}
	}
	if err := checkStale(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".sock") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	temp := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on unix://%s (a socket's path may have about 90 bytes): %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	err = os.Chown(temp, os.Geteuid(), gid)
	if err == nil {
		err = os.Chmod(temp, socketMode)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	return &unixListener{UnixListener: l, path: path, info: info}, nil
}

// checkStale makes sure that path is free or a socket nobody answers on.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on unix://%s: %w", path, err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fault.New(fault.Conflict, "listen on unix://%s: there is a file that is not a socket; remove it or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		conn.Close()
	}
	if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
		return fault.New(fault.Conflict, "listen on unix://%s: another process serves this socket; stop it or choose another path", path)
	}
	return nil
}

// unixListener removes its socket on Close, unless another daemon has put its
// own there meanwhile.
type unixListener struct {
	*net.UnixListener
	path string
	info os.FileInfo
}

func (l *unixListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// Addr gives the public path, not the temporary one the socket was bound to.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func lookupGroup(group string) (int, error) {
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fault.New(fault.Invalid, "group %q does not exist on this machine; create it with groupadd, or name another with --group", group)
	}
	return strconv.Atoi(g.Gid)
}

func listenTCP(hostport string, cfg ListenConfig) (net.Listener, error) {
	verified := cfg.TLS != nil && cfg.TLS.ClientAuth == tls.RequireAndVerifyClientCert
	if !verified && !cfg.AllowPlainTCP {
		return nil, fault.New(fault.Forbidden, "listen on tcp://%s: refused, because whoever reaches the API is root on this machine; use --tlsverify with --tlscacert, --tlscert and --tlskey, or allow it with --allow-plain-tcp", hostport)
	}
	l, err := net.Listen("tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf("listen on tcp://%s: %w", hostport, err)
	}
	if cfg.TLS != nil {
		return tls.NewListener(l, cfg.TLS), nil
	}
	return l, nil
}

// listenFD takes the sockets that systemd opened (sd_listen_fds(3)).
func listenFD(which string) ([]net.Listener, error) {
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || count < 1 {
		return nil, fault.New(fault.Invalid, "listen on fd://%s: no sockets were passed to this process; start it by a systemd socket unit, or use unix:// or tcp://", which)
	}
	first, last := firstListen, firstListen+count-1
	if which != "" && which != "*" {
		n, err := strconv.Atoi(which)
		if err != nil || n < first || n > last {
			return nil, fault.New(fault.Invalid, "listen on fd://%s: the sockets passed are %d to %d", which, first, last)
		}
		first, last = n, n
	}
	var listeners []net.Listener
	for fd := first; fd <= last; fd++ {
		unix.CloseOnExec(fd)
		file := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		l, err := net.FileListener(file)
		file.Close()
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return nil, fmt.Errorf("listen on fd://%d: %w", fd, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// TLSFiles names the files of --tlscacert, --tlscert and --tlskey.
type TLSFiles struct {
	CA, Cert, Key string
	Verify        bool // demand a client certificate signed by CA
}

// LoadTLS reads the files into a configuration for Listen.
func LoadTLS(f TLSFiles) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fault.New(fault.Invalid, "load the TLS certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if !f.Verify {
		return cfg, nil
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the TLS authority for client certificates: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, "the TLS authority file %s holds no certificate", f.CA)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	return cfg, nil
}
