package connect

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// DefaultSocket is where sampand listens unless told otherwise.
const DefaultSocket = "/run/sampan/sampan.sock"

const (
	portPlain = "2375"
	portTLS   = "2376"
)

// endpoint is a parsed host.
type endpoint struct {
	host    string // as given to the API client: unix:///path or tcp://addr:port
	network string // unix or tcp
	addr    string
	implied bool // nobody named a host
}

// findHost applies the order -H, SAMPAN_HOST, DOCKER_HOST, default.
func findHost(flag string, tls bool) (endpoint, error) {
	for _, c := range []struct{ from, value string }{
		{"--host", flag}, {"SAMPAN_HOST", os.Getenv("SAMPAN_HOST")}, {"DOCKER_HOST", os.Getenv("DOCKER_HOST")},
	} {
		if c.value == "" {
			continue
		}
		e, err := parseHost(c.value, tls)
		if err != nil {
			return e, fmt.Errorf("invalid host in %s: %w", c.from, err)
		}
		return e, nil
	}
	return endpoint{host: "unix://" + DefaultSocket, network: "unix", addr: DefaultSocket, implied: true}, nil
}

// DefaultHost is the daemon's address where no context names one.
func DefaultHost(flag string) (string, error) {
	e, err := findHost(flag, false)
	return e.host, err
}

// CheckHost tells whether a connection can be made to a host that is written so.
func CheckHost(value string) error {
	_, err := parseHost(value, false)
	return err
}

func parseHost(value string, tls bool) (endpoint, error) {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(value), "://")
	if !ok {
		scheme, rest = "tcp", value
	}
	switch scheme {
	case "unix":
		if rest == "" {
			rest = DefaultSocket
		}
		if !filepath.IsAbs(rest) {
			return endpoint{}, fmt.Errorf("%q: the path of a socket must be absolute, as in unix:///run/sampan/sampan.sock", value)
		}
		return endpoint{host: "unix://" + rest, network: "unix", addr: rest}, nil
	case "tcp", "http", "https":
		u, err := url.Parse("tcp://" + rest)
		if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return endpoint{}, fmt.Errorf("%q is not tcp://HOST[:PORT][/PATH]", value)
		}
		name, port := u.Hostname(), u.Port()
		if name == "" {
			name = "localhost"
		}
		if port == "" {
			port = portPlain
			if tls {
				port = portTLS
			}
		}
		addr := net.JoinHostPort(name, port)
		return endpoint{host: "tcp://" + addr + strings.TrimSuffix(u.Path, "/"), network: "tcp", addr: addr}, nil
	case "ssh", "fd", "npipe":
		return endpoint{}, fmt.Errorf("%q: %s:// hosts are not supported yet; use unix:// or tcp://", value, scheme)
	}
	return endpoint{}, fmt.Errorf("%q: unknown scheme %s:// (use unix:// or tcp://)", value, scheme)
}
