package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// Registers as nft numbers them: reg1 is the first 4 bytes of the 16-byte
// register 1, reg9 and reg10 the next ones, so that a concatenation lies in a
// row.
const (
	reg1  = unix.NFT_REG_1
	reg9  = unix.NFT_REG32_01
	reg10 = unix.NFT_REG32_02
)

// The ports of the daemon's containers: by exact host address, and on every
// address of the host.
var (
	publishedMap    = portMap{name: "published", id: 1, fields: []uint32{typeIPv4, typeProto, typeService}}
	publishedAnyMap = portMap{name: "published_any", id: 2, fields: []uint32{typeProto, typeService}}
)

// The base chains. Translation sits at nft's standard priorities, so that other
// tables can order themselves around it.
var (
	chainLoopback    = chain{"loopback", "filter", unix.NF_INET_PRE_ROUTING, -300}
	chainPrerouting  = chain{"prerouting", "nat", unix.NF_INET_PRE_ROUTING, -100}
	chainOutput      = chain{"output", "nat", unix.NF_INET_LOCAL_OUT, -100}
	chainPostrouting = chain{"postrouting", "nat", unix.NF_INET_POST_ROUTING, 100}
	chainForward     = chain{"forward", "filter", unix.NF_INET_FORWARD, 0}
)

// rule is the expressions of one rule, joined from its matches and its verdict.
func rule(parts ...[]expr.Any) (r []expr.Any) {
	for _, p := range parts {
		r = append(r, p...)
	}
	return r
}

func ifname(n string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, n)
	return b
}

func matchMeta(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg1}, &expr.Cmp{Op: op, Register: reg1, Data: data}}
}

func iif(op expr.CmpOp, name string) []expr.Any {
	return matchMeta(expr.MetaKeyIIFNAME, op, ifname(name))
}
func oif(op expr.CmpOp, name string) []expr.Any {
	return matchMeta(expr.MetaKeyOIFNAME, op, ifname(name))
}
func ipv4() []expr.Any {
	return matchMeta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4})
}

// Offsets in the IPv4 header.
const (
	ipSource = 12
	ipDest   = 16
)

func inPrefix(offset uint32, p netip.Prefix) []expr.Any {
	var mask, base [4]byte
	binary.BigEndian.PutUint32(mask[:], ^uint32(uint64(1)<<(32-p.Bits())-1))
	base = p.Masked().Addr().As4()
	return rule(ipv4(), []expr.Any{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: mask[:], Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: base[:]},
	})
}

// ctHas matches when the conntrack value of the key has one of the bits.
func ctHas(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
	}
}

// ipsDstNAT is IPS_DST_NAT: the connection's destination was translated.
const ipsDstNAT = 1 << 5

func translated() []expr.Any { return ctHas(expr.CtKeySTATUS, ipsDstNAT) }

func toHost() []expr.Any {
	return rule(ipv4(), []expr.Any{
		&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
	})
}

func destPort(reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

func dnat(m portMap) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: reg1, DestRegister: reg1, IsDestRegSet: true, SetName: m.name, SetID: m.id},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg1, RegProtoMin: reg9, Specified: true},
	}
}

func dnatByAddress() []expr.Any {
	return rule(toHost(), []expr.Any{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: ipDest, Len: 4},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg9}, destPort(reg10),
	}, dnat(publishedMap))
}

func dnatAny() []expr.Any {
	return rule(toHost(), []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, destPort(reg9)}, dnat(publishedAnyMap))
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func counted(k expr.VerdictKind) []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: k}}
}

// chainRules is a chain with its rules in order.
type chainRules struct {
	chain chain
	rules [][]expr.Any
}

// ruleset returns every chain of the table. The golden file of the tests shows
// it in nft's words.
func ruleset(cfg Config) []chainRules {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	masquerade := []expr.Any{&expr.Masq{}}
	notLo := iif(expr.CmpOpNeq, "lo")

	forward := [][]expr.Any{
		rule(oif(expr.CmpOpNeq, cfg.Bridge), verdict(expr.VerdictAccept)),
		rule(ctHas(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), verdict(expr.VerdictAccept)),
		rule(translated(), verdict(expr.VerdictAccept)),
	}
	if cfg.ICC {
		forward = append(forward, rule(iif(expr.CmpOpEq, cfg.Bridge), verdict(expr.VerdictAccept)))
	}
	forward = append(forward, counted(expr.VerdictDrop))

	postrouting := [][]expr.Any{
		// A container that reaches a container of its own bridge through a
		// published port: the answer must come back through the host.
		rule(oif(expr.CmpOpEq, cfg.Bridge), inPrefix(ipSource, cfg.Subnet), translated(), masquerade),
		// A local client of 127.0.0.1: the container cannot answer to that.
		rule(oif(expr.CmpOpEq, cfg.Bridge), inPrefix(ipSource, loopback), translated(), masquerade),
	}
	if cfg.Masquerade {
		postrouting = append(postrouting, rule(oif(expr.CmpOpNeq, cfg.Bridge), inPrefix(ipSource, cfg.Subnet), masquerade))
	}
	return []chainRules{
		// route_localnet on the bridge would let containers and, with
		// translation, neighbours reach 127.0.0.1 (CVE-2020-8558).
		{chainLoopback, [][]expr.Any{
			rule(notLo, inPrefix(ipDest, loopback), verdict(expr.VerdictDrop)),
			rule(notLo, inPrefix(ipSource, loopback), verdict(expr.VerdictDrop)),
		}},
		{chainPrerouting, [][]expr.Any{dnatByAddress(), dnatAny()}},
		{chainOutput, [][]expr.Any{dnatByAddress(), dnatAny()}},
		{chainPostrouting, postrouting},
		{chainForward, forward},
	}
}

// build returns the requests that make the whole table.
func build(table string, flags uint32, cfg Config, ports map[Mapping]struct{}) ([]*netlink.Request, error) {
	reqs := []*netlink.Request{addTable(table, flags), addMap(table, publishedMap), addMap(table, publishedAnyMap)}
	for _, c := range ruleset(cfg) {
		reqs = append(reqs, addChain(table, c.chain))
		for _, exprs := range c.rules {
			r, err := addRule(unix.NFPROTO_INET, table, c.chain.name, rulePos{}, nil, exprs...)
			if err != nil {
				return nil, err
			}
			reqs = append(reqs, r)
		}
	}
	var all []Mapping
	for m := range ports {
		all = append(all, m)
	}
	return append(reqs, elementRequests(table, all, addElements)...), nil
}

// maxElements keeps the list of elements of a request within the 64 KiB that an
// attribute can hold.
const maxElements = 512

// elementRequests makes the requests for the maps that the mappings touch.
func elementRequests(table string, mappings []Mapping, request func(string, portMap, []element) *netlink.Request) []*netlink.Request {
	var exact, wild []element
	for _, m := range mappings {
		value := joined(regAddr(m.To.Addr()), regPort(m.To.Port()))
		port := joined(regProto(m.Proto), regPort(m.HostPort))
		if m.HostIP.IsUnspecified() {
			wild = append(wild, element{port, value})
		} else {
			exact = append(exact, element{joined(regAddr(m.HostIP), port), value})
		}
	}
	var reqs []*netlink.Request
	for chunk := range slices.Chunk(exact, maxElements) {
		reqs = append(reqs, request(table, publishedMap, chunk))
	}
	for chunk := range slices.Chunk(wild, maxElements) {
		reqs = append(reqs, request(table, publishedAnyMap, chunk))
	}
	return reqs
}
