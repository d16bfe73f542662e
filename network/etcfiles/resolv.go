package etcfiles

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// The host's files. systemd-resolved's stub in the first names only 127.0.0.53;
// the second then has the real servers.
const (
	HostResolv    = "/etc/resolv.conf"
	ResolvedConf  = "/run/systemd/resolve/resolv.conf"
	resolvedStub  = "127.0.0.53"
	HostHostsFile = "/etc/hosts"
)

// fallbackServers are used, as Docker does, when the host names none that a
// container can reach.
var fallbackServers = []string{"8.8.8.8", "8.8.4.4"}

// Resolv is the contents of a resolv.conf.
type Resolv struct {
	Servers, Search, Options []string
}

// ParseResolv reads a resolv.conf; lines it does not know are left out.
func ParseResolv(b []byte) Resolv {
	var r Resolv
	for line := range strings.Lines(string(b)) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.Servers = append(r.Servers, f[1])
		case "search", "domain": // the last one counts
			r.Search = f[1:]
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}

// OnlyStub tells whether the host resolves through systemd-resolved's stub.
func (r Resolv) OnlyStub() bool {
	return len(r.Servers) == 1 && r.Servers[0] == resolvedStub
}

// Reachable leaves out servers that a container with a namespace of its own
// cannot reach: loopback ones, and IPv6 ones unless it has IPv6. With none left
// the fall-back servers are used.
func (r Resolv) Reachable(ipv6 bool) Resolv {
	r.Servers = slices.DeleteFunc(slices.Clone(r.Servers), func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err != nil || a.IsLoopback() || a.IsUnspecified() || (a.Is6() && !a.Is4In6() && !ipv6)
	})
	if len(r.Servers) == 0 {
		r.Servers = slices.Clone(fallbackServers)
	}
	return r
}

// Override replaces each part that is given. A search list of "." means none.
func (r Resolv) Override(servers, search, options []string) (Resolv, error) {
	for _, s := range servers {
		if _, err := netip.ParseAddr(s); err != nil {
			return r, fault.New(fault.Invalid, "dns server %q is not an IP address", s)
		}
	}
	for _, s := range slices.Concat(search, options) {
		if s != "" && !validName(s) {
			return r, fault.New(fault.Invalid, "%q cannot stand in a resolv.conf (no blanks or control characters)", s)
		}
	}
	if len(servers) > 0 {
		r.Servers = servers
	}
	if len(search) > 0 {
		r.Search = slices.DeleteFunc(slices.Clone(search), func(s string) bool { return s == "." || s == "" })
	}
	if len(options) > 0 {
		r.Options = slices.DeleteFunc(slices.Clone(options), func(s string) bool { return s == "" })
	}
	return r, nil
}

// Build returns the file.
func (r Resolv) Build() []byte {
	var b bytes.Buffer
	for _, s := range r.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(r.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.Search, " "))
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.Options, " "))
	}
	return b.Bytes()
}
