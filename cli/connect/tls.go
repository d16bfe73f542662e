package connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TLS holds the global tls flags.
type TLS struct {
	Enable            bool // --tls
	Verify            bool // --tlsverify
	CA, Cert, Key     string
	CASet, CertSet    bool
	KeySet, VerifySet bool
	// Whole tells that the environment adds nothing: what a context has was
	// chosen for its host.
	Whole bool
}

// Requested tells whether the connection is to be encrypted. As in Docker,
// --tlsverify=false asks for TLS too, without verification: never for plain text.
func (t TLS) Requested() bool { return t.Enable || t.Verify || t.VerifySet }

// fromEnv adds DOCKER_TLS_VERIFY and DOCKER_CERT_PATH where no flag was given.
func (t TLS) fromEnv() TLS {
	if t.Whole {
		return t
	}
	if !t.VerifySet && os.Getenv("DOCKER_TLS_VERIFY") != "" {
		t.Verify = true
	}
	dir := os.Getenv("DOCKER_CERT_PATH")
	if dir == "" {
		if home, err := os.UserHomeDir(); err == nil {
			dir = filepath.Join(home, ".docker")
		}
	}
	for _, f := range []struct {
		path *string
		set  bool
		name string
	}{{&t.CA, t.CASet, "ca.pem"}, {&t.Cert, t.CertSet, "cert.pem"}, {&t.Key, t.KeySet, "key.pem"}} {
		if !f.set && *f.path == "" {
			*f.path = filepath.Join(dir, f.name)
		}
	}
	return t
}

// args are the arguments of the TLS program (see package tlspipe).
func (t TLS) args(serverName string) []string {
	args := []string{"tls-pipe", "-name", serverName}
	if t.Verify {
		args = append(args, "-verify", "-ca", t.CA)
	}
	// A client certificate is optional with --tls, as in Docker: files that
	// were only guessed from the default directory may be missing.
	_, certErr := os.Stat(t.Cert)
	_, keyErr := os.Stat(t.Key)
	if t.CertSet || t.KeySet || certErr == nil && keyErr == nil {
		args = append(args, "-cert", t.Cert, "-key", t.Key)
	}
	return args
}

// secure wraps a connection in TLS, which another program speaks: it is linked
// into sampand, since it would make this one start later.
func (c *Conn) secure(conn net.Conn) (net.Conn, error) {
	program := c.tlsProgram
	if program == "" {
		var err error
		if program, err = findDaemon(); err != nil {
			return nil, fmt.Errorf("TLS needs the program %s on this machine: %w", daemonName, err)
		}
	}
	remote, err := conn.(*net.TCPConn).File()
	conn.Close()
	if err != nil {
		return nil, err
	}
	defer remote.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair for TLS: %w", err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "tls"), os.NewFile(uintptr(pair[1]), "tls")
	defer near.Close()
	defer far.Close()
	ours, err := net.FileConn(near)
	if err != nil {
		return nil, err
	}
	p := &pipe{UnixConn: ours.(*net.UnixConn), ended: make(chan struct{})}
	cmd := exec.Command(program, c.tlsArgs...)
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = far, &p.said, []*os.File{remote}
	// Keys of the terminal are for this program, which ends the other one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.UnixConn.Close()
		return nil, fmt.Errorf("start %s for TLS: %w", program, err)
	}
	go func() {
		_ = cmd.Wait() // what it said tells why it failed
		close(p.ended)
	}()
	return p, nil
}

// pipe is the near side of a TLS program.
type pipe struct {
	*net.UnixConn
	said  bytes.Buffer // read after ended
	ended chan struct{}
	any   bool // something came
}

// endWait bounds the wait for the reason of an end.
const endWait = 2 * time.Second

// Read tells why TLS failed, if it did before the first byte.
func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.UnixConn.Read(b)
	if n > 0 {
		p.any = true
	}
	if err == nil || p.any || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		return n, err
	}
	select {
	case <-p.ended:
		if text := strings.TrimSpace(p.said.String()); text != "" {
			return n, errors.New(text)
		}
	case <-time.After(endWait):
	}
	return n, err
}

// dialSecure is dial, with TLS where it is wanted.
func (c *Conn) dialSecure(ctx context.Context) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil || c.tlsArgs == nil {
		return conn, err
	}
	return c.secure(conn)
}
