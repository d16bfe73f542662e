package server

import (
	"context"
	"crypto/tls"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// origin says over what kind of socket a request came.
type origin int

const (
	overUnix origin = iota
	overTCP
	overTLS
)

type originKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	o := overTCP
	switch c := c.(type) {
	case *tls.Conn:
		o = overTLS
	case *net.UnixConn:
		o = overUnix
	default:
		if c.RemoteAddr() != nil && c.RemoteAddr().Network() == "unix" {
			o = overUnix
		}
	}
	return context.WithValue(ctx, originKey{}, o)
}

// guard refuses what a web page can make a browser send. A browser reaches the
// daemon over TCP only; a request to a UNIX socket has passed its file mode.
//
//   - A page of another site sends an Origin header with every request that
//     changes something.
//   - A page whose DNS name was rebound to this machine sends its own name as
//     Host, so over plain TCP only addresses and known names are served. With
//     TLS the certificate's name protects from that.
//   - A plain HTML form sends no Origin in old browsers, but cannot choose a
//     content type other than the three of forms.
func (s *Server) guard(r *http.Request) error {
	o, ok := r.Context().Value(originKey{}).(origin)
	if !ok || o == overUnix {
		return nil
	}
	if from := r.Header.Get("Origin"); from != "" && !sameHost(from, r.Host) {
		return fault.New(fault.Forbidden, "requests from web pages of %q are refused", from)
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return fault.New(fault.Forbidden, "requests from web pages of another site are refused")
	}
	if o == overTCP && !s.hostAllowed(r.Host) {
		return fault.New(fault.Forbidden, "the host name %q is not one of this daemon's names; use its address, or add the name to the allowed hosts", r.Host)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch media {
		case "application/x-www-form-urlencoded", "multipart/form-data":
			return fault.New(fault.Forbidden, "form posts (Content-Type %s) are refused over TCP", media)
		}
	}
	return nil
}

func sameHost(origin, host string) bool {
	_, rest, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(rest, host)
}

func allowedHosts(extra []string) map[string]bool {
	hosts := map[string]bool{"localhost": true}
	if name, err := os.Hostname(); err == nil {
		hosts[strings.ToLower(name)] = true
	}
	for _, name := range extra {
		hosts[strings.ToLower(name)] = true
	}
	return hosts
}

func (s *Server) hostAllowed(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return s.hosts[strings.ToLower(strings.TrimSuffix(host, "."))]
}
