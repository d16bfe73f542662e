package dns

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/network/etcfiles"
	"github.com/sampan-containers/sampan/network/netns"
)

const (
	port = 53
	// maxServers is how many of a list are asked, as resolv.conf(5) has it.
	maxServers = 3
	// recheck is how often the host's resolv.conf is looked at, when there are
	// queries.
	recheck = time.Second
	// avoid is how long a server that did not answer is asked last.
	avoid = 10 * time.Second
)

// upstreams are the servers that queries are forwarded to.
type upstreams struct {
	fixed  []netip.AddrPort // nil = those of the host's resolv.conf
	inside *net.UDPConn     // its network namespace is asked from; nil = our own

	mu      sync.Mutex
	found   []netip.AddrPort
	read    time.Time
	changed time.Time
	down    map[netip.AddrPort]time.Time // until when; of fixed and found only
}

func withPort(list []netip.Addr) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range list {
		out = append(out, netip.AddrPortFrom(a, port))
	}
	return out
}

// fallback is asked when the host names nobody, as on the default bridge.
var fallback = []netip.Addr{netip.AddrFrom4([4]byte{8, 8, 8, 8}), netip.AddrFrom4([4]byte{8, 8, 4, 4})}

// servers returns whom to ask, in order: those that did not answer lately last.
func (u *upstreams) servers(now time.Time) []netip.AddrPort {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := u.fixed
	if list == nil {
		u.reread(now)
		list = u.found
	}
	list = list[:min(len(list), maxServers)]
	out := make([]netip.AddrPort, 0, len(list))
	var last []netip.AddrPort
	for _, s := range list {
		if now.Before(u.down[s]) {
			last = append(last, s)
		} else {
			out = append(out, s)
		}
	}
	return append(out, last...)
}

// reread takes up changes of the host's resolv.conf. Its loopback servers count:
// they are asked from the host's namespace.
func (u *upstreams) reread(now time.Time) {
	if now.Sub(u.read) < recheck {
		return
	}
	u.read = now
	var changed time.Time
	if st, err := os.Stat(etcfiles.HostResolv); err == nil {
		changed = st.ModTime()
	}
	if u.found != nil && changed.Equal(u.changed) {
		return
	}
	u.changed = changed
	var list []netip.Addr
	if b, err := etcfiles.ReadHost(etcfiles.HostResolv); err == nil {
		for _, s := range etcfiles.ParseResolv(b).Servers {
			if a, err := netip.ParseAddr(s); err == nil {
				list = append(list, a)
			}
		}
	}
	if len(list) == 0 {
		list = fallback
	}
	u.found, u.down = withPort(list), nil
}

// answered and silent note how a server did.
func (u *upstreams) answered(s netip.AddrPort) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.down, s)
}

func (u *upstreams) silent(s netip.AddrPort, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.down == nil {
		u.down = map[netip.AddrPort]time.Time{}
	}
	u.down[s] = now.Add(avoid)
}

// dial opens a connection in the namespace from which the server is asked.
func (u *upstreams) dial(network string, s netip.AddrPort, wait time.Duration) (conn net.Conn, err error) {
	d := net.Dialer{Timeout: wait}
	if u.inside == nil {
		return d.Dial(network, s.String())
	}
	raw, err := u.inside.SyscallConn()
	if err != nil {
		return nil, err
	}
	ns, err := namespace(raw)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = netns.Do(ns, func() error {
		conn, err = d.Dial(network, s.String())
		return err
	})
	return conn, err
}
