package netlink

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Numbers of linux/if_link.h.
const (
	bridgeFirstState, bridgeLastState = 10, 19 // IFLA_BR_ROOT_ID … IFLA_BR_GC_TIMER
	bridgeLearned                     = 48     // IFLA_BR_FDB_N_LEARNED
	bridgeFlushFDB                    = 21     // IFLA_BR_FDB_FLUSH
	inetConf                          = 1      // IFLA_INET_CONF
	inet6Conf                         = 2      // IFLA_INET6_CONF
	inet6AddrGenMode                  = 8      // IFLA_INET6_ADDR_GEN_MODE
)

// Settings is everything that somebody can have set on the link with the index
// and that RTM_GETLINK tells: what kind of link it is with the options of that, its
// queueing discipline, XDP programs, master, limits, and the values under
// /proc/sys/net/ipv4/conf and ipv6/conf. Names, addresses, counters and timers
// are not in it. Two results are equal if nothing was changed in between.
func (c *Conn) Settings(index int) (string, error) {
	r := NewRequest(fmt.Sprintf("look up link %d", index), unix.RTM_GETLINK, 0).Raw(ifinfo(unix.AF_UNSPEC, index, 0, 0))
	var out []byte
	err := c.Get(r, func(body []byte) error {
		if len(body) < unix.SizeofIfInfomsg {
			return fmt.Errorf("look up link %d: the kernel's answer is cut off", index)
		}
		const ownState = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP | unix.IFF_DORMANT
		out = binary.NativeEndian.AppendUint32(out, binary.NativeEndian.Uint32(body[8:])&^ownState)
		for t, v := range Attrs(body[unix.SizeofIfInfomsg:]) {
			out = appendSetting(out, t, v)
		}
		return nil
	})
	return string(out), err
}

func appendSetting(out []byte, t uint16, v []byte) []byte {
	switch t {
	case unix.IFLA_MTU, unix.IFLA_QDISC, unix.IFLA_MASTER, unix.IFLA_TXQLEN, unix.IFLA_LINKMODE, unix.IFLA_GROUP, unix.IFLA_PROMISCUITY,
		unix.IFLA_NUM_TX_QUEUES, unix.IFLA_NUM_RX_QUEUES, unix.IFLA_GSO_MAX_SEGS, unix.IFLA_GSO_MAX_SIZE, unix.IFLA_XDP, unix.IFLA_PROTO_DOWN:
		return appendAttr(out, t, v)
	case unix.IFLA_LINKINFO:
		for t, v := range Attrs(v) {
			if t != unix.IFLA_INFO_DATA {
				if t == unix.IFLA_INFO_KIND {
					out = appendAttr(out, t, v)
				}
				continue
			}
			for t, v := range Attrs(v) {
				if (t < bridgeFirstState || t > bridgeLastState) && t != bridgeLearned {
					out = appendAttr(out, t, v)
				}
			}
		}
	case unix.IFLA_AF_SPEC:
		for af, v := range Attrs(v) {
			for t, v := range Attrs(v) {
				if af == unix.AF_INET && t == inetConf || af == unix.AF_INET6 && (t == inet6Conf || t == inet6AddrGenMode) {
					out = appendAttr(out, af<<8|t, v)
				}
			}
		}
	}
	return out
}

func appendAttr(out []byte, t uint16, v []byte) []byte {
	out = binary.NativeEndian.AppendUint16(out, t)
	out = binary.NativeEndian.AppendUint32(out, uint32(len(v)))
	return append(out, v...)
}

// HasPorts tells whether any link has the one with the index as its master.
func (c *Conn) HasPorts(index int) (found bool, err error) {
	r := NewRequest(fmt.Sprintf("list the ports of link %d", index), unix.RTM_GETLINK, 0)
	r.Raw(ifinfo(unix.AF_UNSPEC, 0, 0, 0)).Uint32(unix.IFLA_MASTER, uint32(index))
	err = c.Dump(r, func(body []byte) error {
		l := parseLink(body)
		found = found || l != nil && l.Master == index
		return nil
	})
	return found, err
}

// SetDownIndex takes the link with the index down; its routes go.
func SetDownIndex(index int) *Request {
	r := NewRequest(fmt.Sprintf("take link %d down", index), unix.RTM_NEWLINK, 0)
	return r.Raw(ifinfo(unix.AF_UNSPEC, index, 0, unix.IFF_UP))
}

// RenewBridge gives a bridge, which is down, another name, address and alias, and
// makes it forget what it has learned.
func RenewBridge(index int, name string, mac net.HardwareAddr, alias string) *Request {
	r := NewRequest(fmt.Sprintf("make link %d the bridge %s", index, name), unix.RTM_NEWLINK, 0)
	r.Raw(ifinfo(unix.AF_UNSPEC, index, 0, 0))
	r.String(unix.IFLA_IFNAME, name).Bytes(unix.IFLA_ADDRESS, mac).String(unix.IFLA_IFALIAS, alias)
	return r.Nest(unix.IFLA_LINKINFO, func(r *Request) {
		r.String(unix.IFLA_INFO_KIND, "bridge").Nest(unix.IFLA_INFO_DATA, func(r *Request) { r.Bytes(bridgeFlushFDB, nil) })
	})
}
