package netlink

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

const (
	vethInfoPeer = 1
	addrGenNone  = 1 // IN6_ADDR_GEN_MODE_NONE of linux/if_link.h
)

// Link is what a link look-up returns.
type Link struct {
	Index  int
	Master int // index of the bridge it is a port of, or 0
	Name   string
	Kind   string // "bridge", "veth", … or "" for a device
	Alias  string
	MAC    net.HardwareAddr
	Flags  uint32
	MTU    int
}

// Up tells whether the link is administratively up.
func (l *Link) Up() bool { return l.Flags&unix.IFF_UP != 0 }

// Veth is a pair to be made: one end here, the other in another namespace.
type Veth struct {
	Name     string // this end
	PeerName string
	PeerMAC  net.HardwareAddr
	PeerNS   int // descriptor of the peer's namespace
	MTU      int // 0 = the kernel's default
}

func ifinfo(family uint8, index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

// CreateVeth makes both ends, the peer with its final name and address in its
// namespace, in one request. Both are down: the kernel refuses to bring a peer up
// before the pair is joined. One queue per end: the kernel's default, one
// per CPU, costs a sysfs object each and only serves XDP.
func CreateVeth(v Veth) *Request {
	r := NewRequest(fmt.Sprintf("create the link %s", v.Name), unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, v.Name)
	queues := func(r *Request) {
		if v.MTU > 0 {
			r.Uint32(unix.IFLA_MTU, uint32(v.MTU))
		}
		r.Uint32(unix.IFLA_NUM_TX_QUEUES, 1).Uint32(unix.IFLA_NUM_RX_QUEUES, 1)
	}
	queues(r)
	return r.Nest(unix.IFLA_LINKINFO, func(r *Request) {
		r.String(unix.IFLA_INFO_KIND, "veth").Nest(unix.IFLA_INFO_DATA, func(r *Request) {
			r.Nest(vethInfoPeer, func(r *Request) {
				r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0))
				r.String(unix.IFLA_IFNAME, v.PeerName).Bytes(unix.IFLA_ADDRESS, v.PeerMAC)
				r.Uint32(unix.IFLA_NET_NS_FD, uint32(v.PeerNS))
				queues(r)
			})
		})
	})
}

// CreateBridge makes a bridge with a fixed address; without one it would change
// its address with its ports. It is down.
func CreateBridge(name string, mac net.HardwareAddr, mtu int) *Request {
	r := NewRequest(fmt.Sprintf("create the bridge %s", name), unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, name).Bytes(unix.IFLA_ADDRESS, mac)
	if mtu > 0 {
		r.Uint32(unix.IFLA_MTU, uint32(mtu))
	}
	return r.Nest(unix.IFLA_LINKINFO, func(r *Request) { r.String(unix.IFLA_INFO_KIND, "bridge") })
}

// SetUp brings the link up.
func SetUp(name string) *Request {
	r := NewRequest(fmt.Sprintf("bring the link %s up", name), unix.RTM_NEWLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, 0, unix.IFF_UP, unix.IFF_UP)).String(unix.IFLA_IFNAME, name)
}

// SetAlias sets the link's free text; the kernel ignores it in a create request.
func SetAlias(name, alias string) *Request {
	r := NewRequest(fmt.Sprintf("set the alias of %s", name), unix.RTM_NEWLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, name).String(unix.IFLA_IFALIAS, alias)
}

// SetUpIndex brings the link with the index up.
func SetUpIndex(index int) *Request {
	r := NewRequest(fmt.Sprintf("bring link %d up", index), unix.RTM_NEWLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, index, unix.IFF_UP, unix.IFF_UP))
}

// NoAddrGen keeps IPv6 from making a link-local address for the link when it
// comes up.
func NoAddrGen(name string) *Request {
	r := NewRequest(fmt.Sprintf("switch IPv6 addresses of %s off", name), unix.RTM_NEWLINK, 0)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, name)
	return r.Nest(unix.IFLA_AF_SPEC, func(r *Request) {
		r.Nest(unix.AF_INET6, func(r *Request) { r.Uint8(unix.IFLA_INET6_ADDR_GEN_MODE, addrGenNone) })
	})
}

// Enslave makes the link a port of the bridge and brings it up.
func Enslave(name string, bridge int) *Request {
	r := NewRequest(fmt.Sprintf("attach the link %s to the bridge", name), unix.RTM_NEWLINK, 0)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, unix.IFF_UP, unix.IFF_UP))
	return r.String(unix.IFLA_IFNAME, name).Uint32(unix.IFLA_MASTER, uint32(bridge))
}

// SetPort sets hairpin mode (a frame may leave by the port it came in) and
// isolation (none to or from other isolated ports) of a bridge port.
func SetPort(index int, hairpin, isolated bool) *Request {
	r := NewRequest(fmt.Sprintf("set the options of bridge port %d", index), unix.RTM_SETLINK, 0)
	r.Raw(ifinfo(unix.AF_BRIDGE, index, 0, 0))
	return r.Nest(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, func(r *Request) {
		r.Uint8(unix.IFLA_BRPORT_MODE, bit(hairpin)).Uint8(unix.IFLA_BRPORT_ISOLATED, bit(isolated))
	})
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// DeleteLink removes a link; for a veth the call waits for an RCU grace period
// or two (29 ms), so leave those to the end of their namespace where possible.
func DeleteLink(name string) *Request {
	r := NewRequest(fmt.Sprintf("remove the link %s", name), unix.RTM_DELLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, name)
}

// DeleteLinkIndex removes the link with the index.
func DeleteLinkIndex(index int) *Request {
	r := NewRequest(fmt.Sprintf("remove link %d", index), unix.RTM_DELLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, index, 0, 0))
}

// SetGroup puts the link with the index into a group, by which several can be
// removed at once.
func SetGroup(index int, group uint32) *Request {
	r := NewRequest(fmt.Sprintf("put link %d into a group", index), unix.RTM_NEWLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, index, 0, 0)).Uint32(unix.IFLA_GROUP, group)
}

// DeleteGroup removes every link of a group.
func DeleteGroup(group uint32) *Request {
	r := NewRequest("remove a group of links", unix.RTM_DELLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).Uint32(unix.IFLA_GROUP, group)
}

// LinkByName returns a link; the error is ENODEV when there is none.
func (c *Conn) LinkByName(name string) (*Link, error) {
	r := NewRequest(fmt.Sprintf("look up the link %s", name), unix.RTM_GETLINK, 0)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, name)
	var link *Link
	err := c.Get(r, func(body []byte) error { link = parseLink(body); return nil })
	if err != nil {
		return nil, err
	}
	if link == nil {
		return nil, fmt.Errorf("look up the link %s: the kernel's answer holds no link", name)
	}
	return link, nil
}

// Links calls f for every link of the namespace.
func (c *Conn) Links(f func(*Link)) error {
	r := NewRequest("list the links", unix.RTM_GETLINK, 0).Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0))
	return c.Dump(r, func(body []byte) error {
		if l := parseLink(body); l != nil {
			f(l)
		}
		return nil
	})
}

func parseLink(body []byte) *Link {
	if len(body) < unix.SizeofIfInfomsg {
		return nil
	}
	l := &Link{Index: int(int32(binary.NativeEndian.Uint32(body[4:]))), Flags: binary.NativeEndian.Uint32(body[8:])}
	for t, v := range Attrs(body[unix.SizeofIfInfomsg:]) {
		switch {
		case t == unix.IFLA_IFNAME:
			l.Name = cString(v)
		case t == unix.IFLA_IFALIAS:
			l.Alias = cString(v)
		case t == unix.IFLA_ADDRESS:
			l.MAC = append(net.HardwareAddr(nil), v...)
		case t == unix.IFLA_MTU && len(v) == 4:
			l.MTU = int(binary.NativeEndian.Uint32(v))
		case t == unix.IFLA_MASTER && len(v) == 4:
			l.Master = int(binary.NativeEndian.Uint32(v))
		case t == unix.IFLA_LINKINFO:
			for t, v := range Attrs(v) {
				if t == unix.IFLA_INFO_KIND {
					l.Kind = cString(v)
				}
			}
		}
	}
	return l
}
