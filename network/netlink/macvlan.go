package netlink

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// Numbers of linux/if_link.h.
const (
	macvlanMode = 1 // IFLA_MACVLAN_MODE
	ipvlanMode  = 1 // IFLA_IPVLAN_MODE
	ipvlanFlags = 2 // IFLA_IPVLAN_FLAGS
	vlanID      = 1 // IFLA_VLAN_ID
)

// MacvlanMode is the number of a mode, "" being bridge.
func MacvlanMode(name string) (uint32, bool) {
	switch name {
	case "private":
		return 1, true
	case "vepa":
		return 2, true
	case "bridge", "":
		return 4, true
	case "passthru":
		return 8, true
	}
	return 0, false
}

// IPvlanMode is the number of a mode, "" being l2; IPvlanFlag that of how links of one
// parent reach each other, "" being bridge.
func IPvlanMode(name string) (uint16, bool) { return numberOf(name, "l2", "l3", "l3s") }

// IPvlanFlag is described at IPvlanMode.
func IPvlanFlag(name string) (uint16, bool) { return numberOf(name, "bridge", "private", "vepa") }

func numberOf(name string, names ...string) (uint16, bool) {
	if name == "" {
		return 0, true
	}
	i := slices.Index(names, name)
	return uint16(max(i, 0)), i >= 0
}

// IPvlan is a link with the MAC address of its parent link and addresses of its own. All
// of a parent have one mode.
type IPvlan struct {
	Name        string
	Parent      int // 0 asks only whether the kernel has such links: EINVAL, or EOPNOTSUPP
	Mode, Flags uint16
	MTU         int
	NS          int // descriptor of the namespace it is made in
}

// CreateIPvlan makes the link in its namespace, in one request. It is down.
func CreateIPvlan(m IPvlan) *Request {
	r := NewRequest(fmt.Sprintf("create the ipvlan link %s", m.Name), unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, m.Name)
	if m.Parent != 0 {
		r.Uint32(unix.IFLA_LINK, uint32(m.Parent)).Uint32(unix.IFLA_NET_NS_FD, uint32(m.NS))
	}
	if m.MTU > 0 {
		r.Uint32(unix.IFLA_MTU, uint32(m.MTU))
	}
	return r.Nest(unix.IFLA_LINKINFO, func(r *Request) {
		r.String(unix.IFLA_INFO_KIND, "ipvlan").Nest(unix.IFLA_INFO_DATA, func(r *Request) {
			r.Bytes(ipvlanMode, binary.NativeEndian.AppendUint16(nil, m.Mode))
			r.Bytes(ipvlanFlags, binary.NativeEndian.AppendUint16(nil, m.Flags))
		})
	})
}

// Macvlan is a link with a MAC address of its own on a parent link.
type Macvlan struct {
	Name   string
	Parent int
	Mode   uint32
	MAC    net.HardwareAddr // nil = the kernel's choice
	MTU    int
	NS     int // descriptor of the namespace it is made in
}

// CreateMacvlan makes the link in its namespace, in one request. It is down.
func CreateMacvlan(m Macvlan) *Request {
	r := NewRequest(fmt.Sprintf("create the macvlan link %s", m.Name), unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, m.Name).Uint32(unix.IFLA_LINK, uint32(m.Parent))
	if m.MAC != nil {
		r.Bytes(unix.IFLA_ADDRESS, m.MAC)
	}
	if m.MTU > 0 {
		r.Uint32(unix.IFLA_MTU, uint32(m.MTU))
	}
	r.Uint32(unix.IFLA_NET_NS_FD, uint32(m.NS))
	return r.Nest(unix.IFLA_LINKINFO, func(r *Request) {
		r.String(unix.IFLA_INFO_KIND, "macvlan").Nest(unix.IFLA_INFO_DATA, func(r *Request) { r.Uint32(macvlanMode, m.Mode) })
	})
}

// CreateVLAN makes a link for one VLAN of a parent link.
func CreateVLAN(name string, parent int, id uint16) *Request {
	r := NewRequest(fmt.Sprintf("create the VLAN link %s", name), unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, name).Uint32(unix.IFLA_LINK, uint32(parent))
	return r.Nest(unix.IFLA_LINKINFO, func(r *Request) {
		r.String(unix.IFLA_INFO_KIND, "vlan").Nest(unix.IFLA_INFO_DATA, func(r *Request) {
			r.Bytes(vlanID, binary.NativeEndian.AppendUint16(nil, id))
		})
	})
}

// CreateDummy makes a link that leads nowhere.
func CreateDummy(name string) *Request {
	r := NewRequest(fmt.Sprintf("create the link %s", name), unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).String(unix.IFLA_IFNAME, name)
	return r.Nest(unix.IFLA_LINKINFO, func(r *Request) { r.String(unix.IFLA_INFO_KIND, "dummy") })
}
