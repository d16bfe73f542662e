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

	// tableOwner keeps others from changing or flushing the table while our
	// socket is open; tablePersist keeps it when the socket closes and lets the
	// next daemon adopt it. Linux 6.9 has both.
	tableOwner   = 0x2
	tablePersist = 0x4

	nfDrop, nfAccept = 0, 1 // verdicts of linux/netfilter.h

	// nft's numbers for the types of set keys and data, so that `nft list`
	// prints them readably.
	typeIPv4, typeProto, typeService = 7, 12, 13
	typeBits                         = 6
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

// portMap is a map from a host port to address . port of a container.
type portMap struct {
	name   string
	id     uint32
	fields []uint32 // nft's type numbers of the key's parts
}

func fieldLen(typ uint32) uint32 {
	return map[uint32]uint32{typeIPv4: 4, typeProto: 1, typeService: 2}[typ]
}

// concat returns nft's number of a concatenated type and its length in bytes;
// each part takes a 4-byte register.
func concat(fields ...uint32) (typ, length uint32) {
	for _, f := range fields {
		typ = typ<<typeBits | f
	}
	return typ, 4 * uint32(len(fields))
}

func addMap(table string, m portMap) *netlink.Request {
	keyType, keyLen := concat(m.fields...)
	dataType, dataLen := concat(typeIPv4, typeService)
	r := nftMsg("add the nftables map "+m.name, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, unix.NFPROTO_INET)
	r.String(unix.NFTA_SET_TABLE, table).String(unix.NFTA_SET_NAME, m.name)
	r.BigUint32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP|setConcat)
	r.BigUint32(unix.NFTA_SET_KEY_TYPE, keyType).BigUint32(unix.NFTA_SET_KEY_LEN, keyLen)
	r.BigUint32(unix.NFTA_SET_DATA_TYPE, dataType).BigUint32(unix.NFTA_SET_DATA_LEN, dataLen)
	r.BigUint32(unix.NFTA_SET_ID, m.id)
	return r.Nest(unix.NFTA_SET_DESC|unix.NLA_F_NESTED, func(r *netlink.Request) {
		r.Nest(setDescConcat|unix.NLA_F_NESTED, func(r *netlink.Request) {
			for _, f := range m.fields {
				r.Nest(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, func(r *netlink.Request) { r.BigUint32(setFieldLen, fieldLen(f)) })
			}
		})
	})
}

// element is one published port in a portMap.
type element struct{ key, value []byte }

func changeElements(what string, cmd, flags uint16, table string, m portMap, elems []element) *netlink.Request {
	r := nftMsg(what, cmd, flags, unix.NFPROTO_INET)
	r.String(unix.NFTA_SET_ELEM_LIST_TABLE, table).String(unix.NFTA_SET_ELEM_LIST_SET, m.name).BigUint32(unix.NFTA_SET_ELEM_LIST_SET_ID, m.id)
	return r.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, func(r *netlink.Request) {
		for _, e := range elems {
			r.Nest(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, func(r *netlink.Request) {
				r.Nest(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, func(r *netlink.Request) { r.Bytes(unix.NFTA_DATA_VALUE, e.key) })
				if e.value != nil {
					r.Nest(unix.NFTA_SET_ELEM_DATA|unix.NLA_F_NESTED, func(r *netlink.Request) { r.Bytes(unix.NFTA_DATA_VALUE, e.value) })
				}
			})
		}
	})
}

func addElements(table string, m portMap, elems []element) *netlink.Request {
	return changeElements("publish ports in the nftables map "+m.name, unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE|unix.NLM_F_EXCL, table, m, elems)
}

func delElements(table string, m portMap, elems []element) *netlink.Request {
	return changeElements("withdraw ports from the nftables map "+m.name, unix.NFT_MSG_DELSETELEM, 0, table, m, elems)
}

// regAddr, regProto and regPort encode one 4-byte part of a key or value.
func regAddr(a netip.Addr) []byte { b := a.As4(); return b[:] }
func regProto(p uint8) []byte     { return []byte{p, 0, 0, 0} }
func regPort(p uint16) []byte     { return append(binary.BigEndian.AppendUint16(nil, p), 0, 0) }
func joined(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
