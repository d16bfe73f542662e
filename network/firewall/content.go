package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// The sets and maps of the table. The ports of the daemon's containers are found
// by exact host address, and on every address of the host.
var (
	publishedMap     = set{name: "published", id: 1, key: []uint32{typeIPv4, typeProto, typeService}, data: []uint32{typeIPv4, typeService}}
	publishedAnyMap  = set{name: "published_any", id: 2, key: []uint32{typeProto, typeService}, data: []uint32{typeIPv4, typeService}}
	published6Map    = set{name: "published6", id: 3, key: []uint32{typeIPv6, typeProto, typeService}, data: []uint32{typeIPv6, typeService}}
	published6AnyMap = set{name: "published6_any", id: 4, key: []uint32{typeProto, typeService}, data: []uint32{typeIPv6, typeService}}
	// networks are the bridges, icc those whose containers may talk to each
	// other, internal those without a way out, unprotected those whose
	// containers may be reached from everywhere.
	networksSet    = set{name: "networks", id: 5, key: []uint32{typeIfname}}
	iccSet         = set{name: "icc", id: 6, key: []uint32{typeIfname, typeIfname}}
	internalSet    = set{name: "internal", id: 7, key: []uint32{typeIfname}}
	unprotectedSet = set{name: "unprotected", id: 8, key: []uint32{typeIfname}}
	// own are the subnets with their bridges, masquerade those whose addresses
	// stay behind the host's, open the published ports of routed networks.
	own4Set        = set{name: "own", id: 9, key: []uint32{typeIfname, typeIPv4}, interval: true}
	own6Set        = set{name: "own6", id: 10, key: []uint32{typeIfname, typeIPv6}, interval: true}
	masquerade4Set = set{name: "masquerade", id: 11, key: []uint32{typeIPv4}, interval: true}
	masquerade6Set = set{name: "masquerade6", id: 12, key: []uint32{typeIPv6}, interval: true}
	open4Set       = set{name: "open", id: 13, key: []uint32{typeIPv4, typeProto, typeService}}
	open6Set       = set{name: "open6", id: 14, key: []uint32{typeIPv6, typeProto, typeService}}

	sets = []set{
		publishedMap, publishedAnyMap, published6Map, published6AnyMap, networksSet, iccSet, internalSet, unprotectedSet,
		own4Set, own6Set, masquerade4Set, masquerade6Set, open4Set, open6Set,
	}
)

// Network is a bridge as the table knows it.
type Network struct {
	Bridge     string
	Subnets    []netip.Prefix
	ICC        bool // containers on the bridge may talk to each other
	Masquerade bool // translate the source of what leaves the bridge
	Internal   bool // nothing is forwarded into it or out of it
	// Routed4 and Routed6: nothing is translated; what is published is reached
	// at the container's own address.
	Routed4, Routed6 bool
	// Unprotected: every port of the containers is reached from everywhere.
	Unprotected bool
}

func (n Network) routed(a netip.Addr) bool { return a.Is4() && n.Routed4 || a.Is6() && n.Routed6 }

// Mapping is one published port. An unspecified HostIP means every address of
// the host; with none the port of a routed network is opened. HostIP and To are of
// one address family.
type Mapping struct {
	Proto    uint8 // unix.IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP
	HostIP   netip.Addr
	HostPort uint16
	To       netip.AddrPort
}

// content collects the elements of each set, by its position in sets.
type content [14][]element

func (c *content) add(s set, e element) { c[s.id-1] = append(c[s.id-1], e) }

func (c *content) network(n Network) {
	name := regName(n.Bridge)
	c.add(networksSet, element{key: name})
	if n.ICC {
		c.add(iccSet, element{key: joined(name, name)})
	}
	if n.Internal {
		c.add(internalSet, element{key: name})
	}
	if n.Unprotected {
		c.add(unprotectedSet, element{key: name})
	}
	for _, p := range n.Subnets {
		f := ip4
		if p.Addr().Is6() {
			f = ip6
		}
		first, last := p.Masked().Addr(), lastOf(p)
		c.add(f.own, element{key: joined(name, regAddr(first)), end: joined(name, regAddr(last))})
		if n.Masquerade && !n.Internal && !n.routed(first) {
			c.addRange(f.translate, first, last)
		}
	}
}

// addRange adds a range to a set with one part: two elements, the second marked
// as the end and not in the range.
func (c *content) addRange(s set, first, last netip.Addr) {
	c.add(s, element{key: regAddr(first)})
	if end := last.Next(); end.IsValid() {
		c.add(s, element{key: regAddr(end), isEnd: true})
	}
}

func (c *content) port(m Mapping) {
	f := ip4
	if m.To.Addr().Is6() {
		f = ip6
	}
	port := joined(regProto(m.Proto), regPort(m.HostPort))
	value := joined(regAddr(m.To.Addr()), regPort(m.To.Port()))
	switch {
	case !m.HostIP.IsValid():
		c.add(f.open, element{key: joined(regAddr(m.To.Addr()), regProto(m.Proto), regPort(m.To.Port()))})
	case m.HostIP.IsUnspecified():
		c.add(f.any, element{key: port, value: value})
	default:
		c.add(f.byAddr, element{key: joined(regAddr(m.HostIP), port), value: value})
	}
}

// maxElements keeps the list of elements of a request within the 64 KiB that an
// attribute can hold.
const maxElements = 512

// requests makes the requests for the sets that have elements.
func (c *content) requests(table string, request func(string, set, []element) *netlink.Request) []*netlink.Request {
	var reqs []*netlink.Request
	for i, s := range sets {
		for chunk := range slices.Chunk(c[i], maxElements) {
			reqs = append(reqs, request(table, s, chunk))
		}
	}
	return reqs
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Protocol returns the kernel's number of a published protocol.
func Protocol(name string) uint8 {
	switch name {
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}

// intervalEnd is NFT_SET_ELEM_INTERVAL_END.
func intervalEnd() []byte { return binary.BigEndian.AppendUint32(nil, unix.NFT_SET_ELEM_INTERVAL_END) }
