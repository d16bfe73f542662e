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

// AddAddr gives a link an IPv4 address with its broadcast address.
func AddAddr(index int, p netip.Prefix) *Request {
	r := NewRequest(fmt.Sprintf("add the address %s", p), unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = unix.AF_INET, uint8(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	a := p.Addr().As4()
	r.Raw(b).Bytes(unix.IFA_LOCAL, a[:]).Bytes(unix.IFA_ADDRESS, a[:])
	if p.Bits() < 31 {
		bc := broadcast(p).As4()
		r.Bytes(unix.IFA_BROADCAST, bc[:])
	}
	return r
}

// DelAddr takes an IPv4 address from a link.
func DelAddr(index int, p netip.Prefix) *Request {
	r := NewRequest(fmt.Sprintf("remove the address %s", p), unix.RTM_DELADDR, 0)
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = unix.AF_INET, uint8(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	a := p.Addr().As4()
	return r.Raw(b).Bytes(unix.IFA_LOCAL, a[:])
}

func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}

// AddDefaultRoute routes everything over gw on the link.
func AddDefaultRoute(index int, gw netip.Addr) *Request {
	r := NewRequest(fmt.Sprintf("add the default route over %s", gw), unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[4], b[5], b[7] = unix.AF_INET, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RTN_UNICAST
	a := gw.As4()
	return r.Raw(b).Bytes(unix.RTA_GATEWAY, a[:]).Uint32(unix.RTA_OIF, uint32(index))
}

// Addrs calls f for every IPv4 address of the namespace.
func (c *Conn) Addrs(f func(Addr)) error {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0] = unix.AF_INET
	return c.Dump(NewRequest("list the addresses", unix.RTM_GETADDR, 0).Raw(b), func(body []byte) error {
		if len(body) < unix.SizeofIfAddrmsg || body[0] != unix.AF_INET {
			return nil
		}
		for t, v := range Attrs(body[unix.SizeofIfAddrmsg:]) {
			if t == unix.IFA_LOCAL && len(v) == 4 && body[1] <= 32 {
				f(Addr{
					Index:  int(binary.NativeEndian.Uint32(body[4:])),
					Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte(v)), int(body[1])),
				})
			}
		}
		return nil
	})
}

// Routes calls f for the destination and output link of every IPv4 route of the
// main table, the default route excepted.
func (c *Conn) Routes(f func(dst netip.Prefix, index int)) error {
	b := make([]byte, unix.SizeofRtMsg)
	b[0] = unix.AF_INET
	return c.Dump(NewRequest("list the routes", unix.RTM_GETROUTE, 0).Raw(b), func(body []byte) error {
		if len(body) < unix.SizeofRtMsg || body[0] != unix.AF_INET || body[1] == 0 || body[1] > 32 || body[4] != unix.RT_TABLE_MAIN {
			return nil
		}
		var dst netip.Prefix
		var index int
		for t, v := range Attrs(body[unix.SizeofRtMsg:]) {
			switch {
			case t == unix.RTA_DST && len(v) == 4:
				dst = netip.PrefixFrom(netip.AddrFrom4([4]byte(v)), int(body[1]))
			case t == unix.RTA_OIF && len(v) == 4:
				index = int(binary.NativeEndian.Uint32(v))
			}
		}
		if dst.IsValid() {
			f(dst, index)
		}
		return nil
	})
}
