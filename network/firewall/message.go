package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

const (
	// setDescConcat is NFTA_SET_DESC_CONCAT, setFieldLen NFTA_SET_FIELD_LEN and
	// setConcat NFT_SET_CONCAT of linux/netfilter/nf_tables.h; x/sys lacks them.
	setDescConcat = 2
	setFieldLen   = 1
	setConcat     = 0x80
	// setElemKeyEnd is NFTA_SET_ELEM_KEY_END.
	setElemKeyEnd = 10

	// tableOwner keeps others from changing or flushing the table while our
	// socket is open; tablePersist keeps it when the socket closes and lets the
	// next daemon adopt it. Linux 6.9 has both.
	tableOwner   = 0x2
	tablePersist = 0x4

	nfDrop, nfAccept = 0, 1 // verdicts of linux/netfilter.h

	// nft's numbers for the types of set keys and data, so that `nft list`
	// prints them readably.
	typeIPv4, typeIPv6, typeProto, typeService, typeIfname = 7, 8, 12, 13, 41
	typeBits                                               = 6
)

func nfgenmsg(family uint8, res uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, res)
}

func nftMsg(what string, cmd, flags uint16, family uint8) *netlink.Request {
	return netlink.NewRequest(what, unix.NFNL_SUBSYS_NFTABLES<<8|cmd, flags).Raw(nfgenmsg(family, 0))
}

func batchBegin() *netlink.Request {
	return netlink.NewRequest("change the nftables rules", unix.NFNL_MSG_BATCH_BEGIN, 0).Raw(nfgenmsg(0, unix.NFNL_SUBSYS_NFTABLES))
}

func batchEnd() *netlink.Request {
	return netlink.NewRequest("change the nftables rules", unix.NFNL_MSG_BATCH_END, 0).Raw(nfgenmsg(0, unix.NFNL_SUBSYS_NFTABLES))
}

func addTable(name string, flags uint32) *netlink.Request {
	r := nftMsg("add the nftables table inet "+name, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, unix.NFPROTO_INET)
	return r.String(unix.NFTA_TABLE_NAME, name).BigUint32(unix.NFTA_TABLE_FLAGS, flags)
}

func delTable(name string) *netlink.Request {
	r := nftMsg("remove the nftables table inet "+name, unix.NFT_MSG_DELTABLE, 0, unix.NFPROTO_INET)
	return r.String(unix.NFTA_TABLE_NAME, name)
}

// chain is a base chain.
type chain struct {
	name, typ string
	hook      uint32
	priority  int32
}

func addChain(table string, c chain) *netlink.Request {
	r := nftMsg("add the nftables chain "+c.name, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, unix.NFPROTO_INET)
	r.String(unix.NFTA_CHAIN_TABLE, table).String(unix.NFTA_CHAIN_NAME, c.name)
	r.Nest(unix.NFTA_CHAIN_HOOK|unix.NLA_F_NESTED, func(r *netlink.Request) {
		r.BigUint32(unix.NFTA_HOOK_HOOKNUM, c.hook).BigUint32(unix.NFTA_HOOK_PRIORITY, uint32(c.priority))
	})
	return r.String(unix.NFTA_CHAIN_TYPE, c.typ).BigUint32(unix.NFTA_CHAIN_POLICY, nfAccept)
}

// rulePos says where a rule goes: before the rule with the handle, or last.
type rulePos struct{ before uint64 }

func addRule(family uint8, table, chain string, pos rulePos, userData []byte, exprs ...expr.Any) (*netlink.Request, error) {
	flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_APPEND)
	if pos.before != 0 {
		flags = unix.NLM_F_CREATE
	}
	r := nftMsg(fmt.Sprintf("add a rule to the nftables chain %s %s", table, chain), unix.NFT_MSG_NEWRULE, flags, family)
	r.String(unix.NFTA_RULE_TABLE, table).String(unix.NFTA_RULE_CHAIN, chain)
	var failed error
	r.Nest(unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, func(r *netlink.Request) {
		for _, e := range exprs {
			raw, err := expr.Marshal(family, e)
			if err != nil {
				failed = fmt.Errorf("encode a rule of the nftables chain %s: %w", chain, err)
				return
			}
			r.Bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, raw)
		}
	})
	if pos.before != 0 {
		r.BigUint64(unix.NFTA_RULE_POSITION, pos.before)
	}
	if userData != nil {
		r.Bytes(unix.NFTA_RULE_USERDATA, userData)
	}
	return r, failed
}

func delRule(family uint8, table, chain string, handle uint64) *netlink.Request {
	r := nftMsg(fmt.Sprintf("remove a rule of the nftables chain %s %s", table, chain), unix.NFT_MSG_DELRULE, 0, family)
	return r.String(unix.NFTA_RULE_TABLE, table).String(unix.NFTA_RULE_CHAIN, chain).BigUint64(unix.NFTA_RULE_HANDLE, handle)
}

// set is a set of the table, or a map when it has data.
type set struct {
	name     string
	id       uint32
	key      []uint32 // nft's type numbers of the key's parts
	data     []uint32
	interval bool // the key's last part is a range of addresses
}

// fieldLen is the length of a part; in a register it is filled up to 4 bytes.
func fieldLen(typ uint32) uint32 {
	switch typ {
	case typeProto:
		return 1
	case typeService:
		return 2
	case typeIPv6, typeIfname:
		return 16
	}
	return 4
}

// concat returns nft's number of a concatenated type and its length in bytes.
func concat(fields ...uint32) (typ, length uint32) {
	for _, f := range fields {
		typ = typ<<typeBits | f
		length += (fieldLen(f) + 3) &^ 3
	}
	if len(fields) == 1 {
		length = fieldLen(fields[0])
	}
	return typ, length
}

func addSet(table string, m set) *netlink.Request {
	keyType, keyLen := concat(m.key...)
	r := nftMsg("add the nftables set "+m.name, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, unix.NFPROTO_INET)
	r.String(unix.NFTA_SET_TABLE, table).String(unix.NFTA_SET_NAME, m.name)
	var flags uint32
	if m.data != nil {
		flags |= unix.NFT_SET_MAP
	}
	if m.interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if len(m.key) > 1 {
		flags |= setConcat
	}
	r.BigUint32(unix.NFTA_SET_FLAGS, flags)
	r.BigUint32(unix.NFTA_SET_KEY_TYPE, keyType).BigUint32(unix.NFTA_SET_KEY_LEN, keyLen)
	if m.data != nil {
		dataType, dataLen := concat(m.data...)
		r.BigUint32(unix.NFTA_SET_DATA_TYPE, dataType).BigUint32(unix.NFTA_SET_DATA_LEN, dataLen)
	}
	r.BigUint32(unix.NFTA_SET_ID, m.id)
	if len(m.key) == 1 {
		if m.key[0] == typeIfname {
			r.Bytes(unix.NFTA_SET_USERDATA, hostByteOrder())
		}
		return r
	}
	return r.Nest(unix.NFTA_SET_DESC|unix.NLA_F_NESTED, func(r *netlink.Request) {
		r.Nest(setDescConcat|unix.NLA_F_NESTED, func(r *netlink.Request) {
			for _, f := range m.key {
				r.Nest(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, func(r *netlink.Request) { r.BigUint32(setFieldLen, fieldLen(f)) })
			}
		})
	})
}

// hostByteOrder tells nft, which reads it from a set's user data, that names of
// interfaces are not numbers in network order.
func hostByteOrder() []byte {
	const keyByteOrder, host = 0, 1 // NFTNL_UDATA_SET_KEYBYTEORDER, BYTEORDER_HOST_ENDIAN
	return append([]byte{keyByteOrder, 4}, binary.NativeEndian.AppendUint32(nil, host)...)
}

// element is one element of a set; end, if it has one, is the last key of its
// range.
type element struct {
	key, end, value []byte
	isEnd           bool // the element ends a range and is not part of it
}

func changeElements(what string, cmd, flags uint16, table string, m set, elems []element) *netlink.Request {
	r := nftMsg(what, cmd, flags, unix.NFPROTO_INET)
	r.String(unix.NFTA_SET_ELEM_LIST_TABLE, table).String(unix.NFTA_SET_ELEM_LIST_SET, m.name).BigUint32(unix.NFTA_SET_ELEM_LIST_SET_ID, m.id)
	value := func(r *netlink.Request, typ uint16, v []byte) {
		if v != nil {
			r.Nest(typ|unix.NLA_F_NESTED, func(r *netlink.Request) { r.Bytes(unix.NFTA_DATA_VALUE, v) })
		}
	}
	return r.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, func(r *netlink.Request) {
		for _, e := range elems {
			r.Nest(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, func(r *netlink.Request) {
				value(r, unix.NFTA_SET_ELEM_KEY, e.key)
				value(r, setElemKeyEnd, e.end)
				if e.isEnd {
					r.Bytes(unix.NFTA_SET_ELEM_FLAGS, intervalEnd())
				}
				value(r, unix.NFTA_SET_ELEM_DATA, e.value)
			})
		}
	})
}

func addElements(table string, m set, elems []element) *netlink.Request {
	return changeElements("add to the nftables set "+m.name, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE|unix.NLM_F_EXCL, table, m, elems)
}

func delElements(table string, m set, elems []element) *netlink.Request {
	return changeElements("remove from the nftables set "+m.name, unix.NFT_MSG_DELSETELEM, 0, table, m, elems)
}

// regAddr, regProto, regPort and regName encode one part of a key or value.
func regAddr(a netip.Addr) []byte { return a.AsSlice() }
func regProto(p uint8) []byte     { return []byte{p, 0, 0, 0} }
func regPort(p uint16) []byte     { return append(binary.BigEndian.AppendUint16(nil, p), 0, 0) }
func regName(n string) []byte     { return ifname(n) }
func joined(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
