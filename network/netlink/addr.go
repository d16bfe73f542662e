package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Addr is an address of a link.
type Addr struct {
	Index  int
	Prefix netip.Prefix
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func ifaddr(index int, p netip.Prefix) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = family(p.Addr()), uint8(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return b
}

// AddAddr gives a link an address: IPv4 with its broadcast address, IPv6 without
// the search for duplicates, so that it works at once.
func AddAddr(index int, p netip.Prefix) *Request {
	r := NewRequest(fmt.Sprintf("add the address %s", p), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b, a := ifaddr(index, p), p.Addr().AsSlice()
	if p.Addr().Is6() {
		b[2] = unix.IFA_F_NODAD
	}
	r.Raw(b).Bytes(unix.IFA_LOCAL, a).Bytes(unix.IFA_ADDRESS, a)
	if p.Addr().Is4() && p.Bits() < 31 {
		bc := broadcast(p).As4()
		r.Bytes(unix.IFA_BROADCAST, bc[:])
	}
	return r
}

// DelAddr takes an address from a link.
func DelAddr(index int, p netip.Prefix) *Request {
	r := NewRequest(fmt.Sprintf("remove the address %s", p), unix.RTM_DELADDR, 0)
	return r.Raw(ifaddr(index, p)).Bytes(unix.IFA_LOCAL, p.Addr().AsSlice())
}

func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}

func defaultRoute(r *Request, index int, gw netip.Addr) *Request {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[4], b[5], b[7] = family(gw), unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_UNICAST
	return r.Raw(b).Bytes(unix.RTA_GATEWAY, gw.AsSlice()).Uint32(unix.RTA_OIF, uint32(index))
}

// AddDefaultRoute routes everything over gw on the link.
func AddDefaultRoute(index int, gw netip.Addr) *Request {
	return defaultRoute(NewRequest(fmt.Sprintf("add the default route over %s", gw), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL), index, gw)
}

// DelDefaultRoute takes the route over gw away.
func DelDefaultRoute(index int, gw netip.Addr) *Request {
	return defaultRoute(NewRequest(fmt.Sprintf("remove the default route over %s", gw), unix.RTM_DELROUTE, 0), index, gw)
}

// Addrs calls f for every IPv4 and global IPv6 address of the namespace.
func (c *Conn) Addrs(f func(Addr)) error {
	r := NewRequest("list the addresses", unix.RTM_GETADDR, 0).Raw(make([]byte, unix.SizeofIfAddrmsg))
	return c.Dump(r, func(body []byte) error {
		if len(body) < unix.SizeofIfAddrmsg || body[3] == unix.RT_SCOPE_LINK {
			return nil
		}
		var addr netip.Addr
		for t, v := range Attrs(body[unix.SizeofIfAddrmsg:]) {
			// An address of a point-to-point link is the other end's.
			if t == unix.IFA_LOCAL || t == unix.IFA_ADDRESS && !addr.IsValid() {
				addr, _ = netip.AddrFromSlice(v)
			}
		}
		if p := netip.PrefixFrom(addr, int(body[1])); p.IsValid() && family(addr) == body[0] {
			f(Addr{Index: int(binary.NativeEndian.Uint32(body[4:])), Prefix: p})
		}
		return nil
	})
}

// Routes calls f for the destination and output link of every route of the main
// table, the default routes and multicast excepted.
func (c *Conn) Routes(f func(dst netip.Prefix, index int)) error {
	r := NewRequest("list the routes", unix.RTM_GETROUTE, 0).Raw(make([]byte, unix.SizeofRtMsg))
	return c.Dump(r, func(body []byte) error {
		if len(body) < unix.SizeofRtMsg || body[1] == 0 || body[4] != unix.RT_TABLE_MAIN || body[7] == unix.RTN_MULTICAST {
			return nil
		}
		var dst netip.Addr
		var index int
		for t, v := range Attrs(body[unix.SizeofRtMsg:]) {
			switch {
			case t == unix.RTA_DST:
				dst, _ = netip.AddrFromSlice(v)
			case t == unix.RTA_OIF && len(v) == 4:
				index = int(binary.NativeEndian.Uint32(v))
			}
		}
		if p := netip.PrefixFrom(dst, int(body[1])); p.IsValid() && !dst.IsLinkLocalUnicast() && !dst.IsMulticast() {
			f(p, index)
		}
		return nil
	})
}
