package firewall

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// Registers as nft numbers them: reg1 and reg2 are the 16-byte registers, and
// with them their first 4 bytes; reg9 and reg10 follow reg1, reg13 follows reg2, so that a
// concatenation lies in a row.
const (
	reg1  = unix.NFT_REG_1
	reg2  = unix.NFT_REG_2
	reg9  = unix.NFT_REG32_01
	reg10 = unix.NFT_REG32_02
	reg12 = unix.NFT_REG32_04
	reg13 = unix.NFT_REG32_05
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

// family is what the rules of one address family need to know.
type family struct {
	proto          byte
	addr           uint32 // nft's type of an address
	source, dest   uint32 // offsets in the header
	len            uint32
	port           uint32 // register behind an address in reg1
	portBehind     uint32 // and the one behind that
	byAddr, any    set    // published ports
	own, translate set    // subnets
	open           set    // ports of routed networks
}

var (
	ip4 = family{
		proto: unix.NFPROTO_IPV4, addr: typeIPv4, source: 12, dest: 16, len: 4, port: reg9, portBehind: reg10,
		byAddr: publishedMap, any: publishedAnyMap, own: own4Set, translate: masquerade4Set, open: open4Set,
	}
	ip6 = family{
		proto: unix.NFPROTO_IPV6, addr: typeIPv6, source: 8, dest: 24, len: 16, port: reg12, portBehind: reg13,
		byAddr: published6Map, any: published6AnyMap, own: own6Set, translate: masquerade6Set, open: open6Set,
	}
	families = []family{ip4, ip6}
)

func (f family) match() []expr.Any {
	return matchMeta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{f.proto})
}

// load puts an address of the packet into a register.
func (f family) load(offset uint32, reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.len}
}

func inPrefix4(offset uint32, p netip.Prefix) []expr.Any {
	var mask, base [4]byte
	binary.BigEndian.PutUint32(mask[:], ^uint32(uint64(1)<<(32-p.Bits())-1))
	base = p.Masked().Addr().As4()
	return rule(ip4.match(), []expr.Any{
		ip4.load(offset, reg1),
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

func established() []expr.Any {
	return ctHas(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// toHost matches what is addressed to the host. ::1 is left to the shim's
// socket: the kernel routes it nowhere else.
func (f family) toHost() []expr.Any {
	m := f.match()
	if f.proto == unix.NFPROTO_IPV6 {
		m = rule(m, []expr.Any{f.load(f.dest, reg1), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: netip.IPv6Loopback().AsSlice()}})
	}
	return rule(m, []expr.Any{
		&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)},
	})
}

func destPort(reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

func (f family) dnat(m set) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: reg1, DestRegister: reg1, IsDestRegSet: true, SetName: m.name, SetID: m.id},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto), RegAddrMin: reg1, RegProtoMin: f.port, Specified: true},
	}
}

// daddrPort puts address . protocol . port of the destination in a row from reg1.
func (f family) daddrPort() []expr.Any {
	return []expr.Any{f.load(f.dest, reg1), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: f.port}, destPort(f.portBehind)}
}

func (f family) dnatByAddress() []expr.Any {
	return rule(f.toHost(), f.daddrPort(), f.dnat(f.byAddr))
}

func (f family) dnatAny() []expr.Any {
	return rule(f.toHost(), []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, destPort(reg9)}, f.dnat(f.any))
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func counted(k expr.VerdictKind) []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: k}}
}

// in matches when what the loads put into reg1 and behind it is in the set.
func in(m set, not bool, loads ...expr.Any) []expr.Any {
	return append(loads, &expr.Lookup{SourceRegister: reg1, SetName: m.name, SetID: m.id, Invert: not})
}

func loadIif(reg uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg} }
func loadOif(reg uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg} }

// chainRules is a chain with its rules in order.
type chainRules struct {
	chain chain
	rules [][]expr.Any
}

// ruleset returns every chain of the table; it is the same for any networks and
// ports, which are elements of the sets. The golden file of the tests shows it in
// nft's words.
func ruleset() []chainRules {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	masquerade := []expr.Any{&expr.Masq{}}
	notLo := iif(expr.CmpOpNeq, "lo")

	var publish, postrouting, open [][]expr.Any
	for _, f := range families {
		publish = append(publish, f.dnatByAddress(), f.dnatAny())
		source := f.load(f.source, reg2)
		postrouting = append(postrouting,
			// A container that reaches a container of its own network through a
			// published port: the answer must come back through the host.
			rule(f.match(), in(f.own, false, loadOif(reg1), source), translated(), masquerade),
			rule(f.match(), in(f.own, false, loadOif(reg1), source), verdict(expr.VerdictAccept)),
			rule(f.match(), in(f.translate, false, f.load(f.source, reg1)), masquerade))
		open = append(open, rule(f.match(), in(f.open, false, f.daddrPort()...), verdict(expr.VerdictAccept)))
	}
	// A local client of 127.0.0.1: the container cannot answer to that.
	postrouting = append(postrouting, rule(inPrefix4(ip4.source, loopback), in(networksSet, false, loadOif(reg1)), translated(), masquerade))

	forward := [][]expr.Any{
		// Inside of one network: what br_netfilter shows us, and hairpins.
		rule(in(iccSet, false, loadIif(reg1), loadOif(reg2)), verdict(expr.VerdictAccept)),
		rule(in(internalSet, false, loadIif(reg1)), counted(expr.VerdictDrop)),
		rule(in(internalSet, false, loadOif(reg1)), counted(expr.VerdictDrop)),
		rule(in(networksSet, true, loadOif(reg1)), verdict(expr.VerdictAccept)),
		rule(established(), verdict(expr.VerdictAccept)),
		rule(translated(), verdict(expr.VerdictAccept)),
	}
	forward = append(forward, open...)
	forward = append(forward, rule(in(unprotectedSet, false, loadOif(reg1)), verdict(expr.VerdictAccept)), counted(expr.VerdictDrop))
	return []chainRules{
		// route_localnet on the bridges would let containers and, with
		// translation, neighbours reach 127.0.0.1 (CVE-2020-8558).
		{chainLoopback, [][]expr.Any{
			rule(notLo, inPrefix4(ip4.dest, loopback), verdict(expr.VerdictDrop)),
			rule(notLo, inPrefix4(ip4.source, loopback), verdict(expr.VerdictDrop)),
		}},
		{chainPrerouting, publish},
		{chainOutput, publish},
		{chainPostrouting, postrouting},
		{chainForward, forward},
	}
}

// build returns the requests that make the whole table.
func (t *Table) build(flags uint32) ([]*netlink.Request, error) {
	reqs := []*netlink.Request{addTable(t.name, flags)}
	for _, s := range sets {
		reqs = append(reqs, addSet(t.name, s))
	}
	for _, c := range ruleset() {
		reqs = append(reqs, addChain(t.name, c.chain))
		for _, exprs := range c.rules {
			r, err := addRule(unix.NFPROTO_INET, t.name, c.chain.name, rulePos{}, nil, exprs...)
			if err != nil {
				return nil, err
			}
			reqs = append(reqs, r)
		}
	}
	all := content{}
	for _, n := range t.networks {
		all.network(n)
	}
	for m := range t.ports {
		all.port(m)
	}
	return append(reqs, all.requests(t.name, addElements)...), nil
}
