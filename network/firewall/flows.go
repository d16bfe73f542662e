package firewall

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// Numbers of linux/netfilter/nfnetlink_conntrack.h that x/sys lacks.
const (
	ctMsgGet, ctMsgDelete     = 1, 2
	ctaTupleOrig              = 1
	ctaTupleIP, ctaTupleProto = 1, 2
	ctaIPv4Dst, ctaIPv6Dst    = 2, 4
	ctaProtoNum, ctaProtoDst  = 1, 3
	maxForgottenFlows         = 64 // per request, so that one batch of answers fits the socket's buffer
	ctSubsystem               = unix.NFNL_SUBSYS_CTNETLINK << 8
)

// forgetFlows removes UDP connections to the ports from connection tracking. A
// client that keeps sending would otherwise stay on the decision made for its
// first datagram: untranslated from before the port was published, or towards
// an address that another container may have by now. TCP ends by itself.
//
// Without the conntrack netlink module the entries run out after 30 s.
func (t *Table) forgetFlows(ports []Mapping) {
	for _, f := range families {
		byPort := map[uint16][]netip.Addr{}
		for _, m := range ports {
			if m.Proto == unix.IPPROTO_UDP && m.HostIP.IsValid() && m.HostIP.BitLen() == int(8*f.len) {
				byPort[m.HostPort] = append(byPort[m.HostPort], m.HostIP)
			}
		}
		if len(byPort) == 0 {
			continue
		}
		if err := t.forgetFamily(f.proto, byPort); err != nil {
			t.cfg.Log.Debug("tracked UDP connections of changed ports are kept until they time out", "error", err)
		}
	}
}

// forgetFamily takes the connections of one address family. The numbers of
// NFPROTO and AF are the same for both.
func (t *Table) forgetFamily(af byte, byPort map[uint16][]netip.Addr) error {
	var stale [][]byte
	dump := netlink.NewRequest("list the tracked connections", ctSubsystem|ctMsgGet, 0).Raw(nfgenmsg(af, 0))
	err := t.conn.Dump(dump, func(body []byte) error {
		if len(body) < 4 {
			return nil
		}
		for typ, tuple := range netlink.Attrs(body[4:]) {
			if typ != ctaTupleOrig {
				continue
			}
			dst, proto := tupleDestination(tuple)
			for _, host := range byPort[dst.Port()] {
				if proto == unix.IPPROTO_UDP && (host.IsUnspecified() || host == dst.Addr()) {
					stale = append(stale, bytes.Clone(tuple))
					break
				}
			}
		}
		return nil
	})
	for err == nil && len(stale) > 0 {
		n := min(len(stale), maxForgottenFlows)
		var reqs []*netlink.Request
		for _, tuple := range stale[:n] {
			r := netlink.NewRequest("forget a tracked connection", ctSubsystem|ctMsgDelete, 0).Raw(nfgenmsg(af, 0))
			reqs = append(reqs, r.Bytes(ctaTupleOrig|unix.NLA_F_NESTED, tuple))
		}
		stale = stale[n:]
		_, err = t.conn.DoEach(reqs...) // one that ended meanwhile is no failure
	}
	return err
}

func tupleDestination(tuple []byte) (dst netip.AddrPort, proto uint8) {
	var addr netip.Addr
	var port uint16
	for t, v := range netlink.Attrs(tuple) {
		for u, w := range netlink.Attrs(v) {
			switch {
			case t == ctaTupleIP && u == ctaIPv4Dst && len(w) == 4:
				addr = netip.AddrFrom4([4]byte(w))
			case t == ctaTupleIP && u == ctaIPv6Dst && len(w) == 16:
				addr = netip.AddrFrom16([16]byte(w))
			case t == ctaTupleProto && u == ctaProtoNum && len(w) == 1:
				proto = w[0]
			case t == ctaTupleProto && u == ctaProtoDst && len(w) == 2:
				port = binary.BigEndian.Uint16(w)
			}
		}
	}
	return netip.AddrPortFrom(addr, port), proto
}
