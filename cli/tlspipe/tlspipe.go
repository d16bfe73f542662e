// Package tlspipe speaks TLS for the client. It is linked into the daemon's
// program and not into the client's, which starts it for a host that wants TLS
// (`sampand tls-pipe`): crypto/tls costs each command a quarter of a millisecond,
// also those that talk to a socket, and nearly all do.
//
// The program gets the plain side as its standard input, a socket, and the
// connection to the daemon as descriptor 3. It ends when either side does.
package tlspipe

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/docker/go-connections/tlsconfig"
)

// Verb is the first argument of the program.
const Verb = "tls-pipe"

const (
	remoteFD         = 3
	handshakeTimeout = 30 * time.Second
)

// Main runs the program with the arguments after Verb and returns its status.
func Main(args []string) int {
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func run(args []string) error {
	o := tlsconfig.Options{ExclusiveRootPools: true, MinVersion: tls.VersionTLS12}
	fs := flag.NewFlagSet(Verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	name := fs.String("name", "", "name in the server's certificate")
	verify := fs.Bool("verify", false, "check the server's certificate")
	fs.StringVar(&o.CAFile, "ca", "", "certificates trusted")
	fs.StringVar(&o.CertFile, "cert", "", "own certificate")
	fs.StringVar(&o.KeyFile, "key", "", "its key")
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("%s: %w (it is started by the client, not by hand)", Verb, err)
	}
	o.InsecureSkipVerify = !*verify
	if !*verify {
		o.CAFile = ""
	}
	config, err := tlsconfig.Client(o)
	if err != nil {
		return fmt.Errorf("set up TLS: %w", err)
	}
	config.ServerName = *name
	plain, err := inherited(0)
	if err != nil {
		return err
	}
	remote, err := inherited(remoteFD)
	if err != nil {
		return err
	}
	secure := tls.Client(remote, config)
	if err := secure.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := secure.Handshake(); err != nil {
		return fmt.Errorf("TLS with the daemon: %w (check --tlscacert, --tlscert and --tlskey)", err)
	}
	if err := secure.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return pump(plain, secure)
}

func inherited(fd uintptr) (net.Conn, error) {
	f := os.NewFile(fd, "socket")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w (the program is started by the client, not by hand)", fd, err)
	}
	return conn, nil
}

// pump copies both ways. The end of one direction is passed on and leaves the
// other open: after the end of a command's input its output still comes.
func pump(plain, secure net.Conn) error {
	go func() {
		_, _ = io.Copy(secure, plain)
		_ = secure.(*tls.Conn).CloseWrite()
	}()
	_, err := io.Copy(plain, secure)
	_ = plain.(*net.UnixConn).CloseWrite()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("TLS with the daemon: %w", err)
	}
	return nil
}
