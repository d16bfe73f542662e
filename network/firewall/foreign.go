package firewall

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// maxJumpDepth bounds the walk through chains; the kernel allows 16 jumps.
const maxJumpDepth = 16

// foreign keeps accept rules for the bridges in base chains of other programs
// that drop forwarded traffic (docker.io and ufw set the policy of ip filter
// FORWARD to DROP). An accept in our own table cannot override those.
//
// The rules go behind everything the user wrote and before whatever drops the
// rest, so a user's own DROP for the bridge stays in force. They use only
// matches that iptables-nft can list, and carry a comment by which a later
// daemon knows them.
type foreign struct {
	log    *slog.Logger
	warned map[string]bool
}

// foreignChain is a base chain of another program at the forward hook.
type foreignChain struct {
	family      uint8
	table, name string
	policyDrop  bool
}

func (c foreignChain) String() string {
	family := map[uint8]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet"}[c.family]
	return family + " " + c.table + " " + c.name
}

// foreignRule is what the walk needs to know of a rule.
type foreignRule struct {
	handle   uint64
	userData []byte
	always   bool // has no match
	drops    bool
	final    bool   // accept or return
	target   string // of a jump or goto
	isGoto   bool
}

func mark(bridge string) []byte {
	comment := "sampan: let " + bridge + " through"
	return append([]byte{0 /* NFTNL_UDATA_RULE_COMMENT */, byte(len(comment) + 1)}, append([]byte(comment), 0)...)
}

// open puts accept rules for the bridges where forwarded traffic is dropped, and
// takes them out where it no longer is. A chain that cannot be changed is
// reported once.
func (f *foreign) open(conn *netlink.Conn, networks map[string]Network) {
	chains, err := forwardChains(conn)
	if err != nil {
		f.warnOnce("list", "the host's firewall rules cannot be read; if its FORWARD policy is DROP, containers have no network", "error", err)
		return
	}
	for _, c := range chains {
		if err := f.fix(conn, c, networks); err != nil {
			f.warnOnce(c.String(), "another program's firewall drops forwarded traffic and does not let Sampan add its accept rule; containers have no network until it lets the bridges through",
				"chain", c.String(), "bridges", slices.Sorted(maps.Keys(networks)), "error", err)
		}
	}
}

// fix brings our rules in one chain in order: two a bridge, all before whatever
// drops the rest.
func (f *foreign) fix(conn *netlink.Conn, c foreignChain, networks map[string]Network) error {
	rules, err := listRules(conn, c.family, c.table, c.name)
	if err != nil {
		return err
	}
	bridgeOf := make(map[string]string, len(networks))
	for name, n := range networks {
		if !n.Internal {
			bridgeOf[string(mark(name))] = name
		}
	}
	mine := map[string][]uint64{}
	misplaced := map[string]bool{}
	var before uint64 // the first rule that drops everything
	opened := false
	for _, r := range rules {
		if name, ok := bridgeOf[string(r.userData)]; ok {
			mine[name] = append(mine[name], r.handle)
			misplaced[name] = misplaced[name] || before != 0
			continue
		}
		switch {
		case before != 0 || opened:
		case dropsAll(conn, c, r, maxJumpDepth):
			before = r.handle
		case r.always && r.final:
			opened = true
		}
	}
	blocking := before != 0 || (c.policyDrop && !opened)
	var reqs []*netlink.Request
	for _, bridge := range slices.Sorted(maps.Values(bridgeOf)) {
		if blocking && len(mine[bridge]) == 2 && !misplaced[bridge] {
			continue
		}
		for _, h := range mine[bridge] {
			reqs = append(reqs, delRule(c.family, c.table, c.name, h))
		}
		if !blocking {
			continue
		}
		for _, match := range [][]expr.Any{iif(expr.CmpOpEq, bridge), oif(expr.CmpOpEq, bridge)} {
			r, err := addRule(c.family, c.table, c.name, rulePos{before: before}, mark(bridge), rule(match, counted(expr.VerdictAccept))...)
			if err != nil {
				return err
			}
			reqs = append(reqs, r)
		}
	}
	return conn.Batch(batchBegin(), batchEnd(), reqs...)
}

// remove takes our rules for the bridges out of all chains of others.
func (f *foreign) remove(conn *netlink.Conn, networks map[string]Network) error {
	chains, err := forwardChains(conn)
	if err != nil {
		return err
	}
	marks := map[string]bool{}
	for name := range networks {
		marks[string(mark(name))] = true
	}
	var failed error
	for _, c := range chains {
		rules, err := listRules(conn, c.family, c.table, c.name)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		var reqs []*netlink.Request
		for _, r := range rules {
			if marks[string(r.userData)] {
				reqs = append(reqs, delRule(c.family, c.table, c.name, r.handle))
			}
		}
		failed = errors.Join(failed, conn.Batch(batchBegin(), batchEnd(), reqs...))
	}
	return failed
}

func (f *foreign) warnOnce(key, msg string, args ...any) {
	if f.warned == nil {
		f.warned = map[string]bool{}
	}
	if !f.warned[key] {
		f.warned[key] = true
		f.log.Warn(msg, args...)
	}
}

// dropsAll tells whether the rule drops whatever reaches it, by itself or in the
// chain it jumps to.
func dropsAll(conn *netlink.Conn, c foreignChain, r foreignRule, depth int) bool {
	switch {
	case !r.always || depth == 0:
		return false
	case r.drops:
		return true
	case r.target == "":
		return false
	}
	rules, err := listRules(conn, c.family, c.table, r.target)
	if err != nil {
		return false
	}
	for _, inner := range rules {
		if dropsAll(conn, c, inner, depth-1) {
			return true
		}
		if inner.always && (inner.final || inner.isGoto) {
			return false
		}
	}
	return false
}

// forwardChains lists the filter chains at the forward hook that are not
// Sampan's.
func forwardChains(conn *netlink.Conn) ([]foreignChain, error) {
	var chains []foreignChain
	r := nftMsg("list the nftables chains", unix.NFT_MSG_GETCHAIN, 0, unix.NFPROTO_UNSPEC)
	err := conn.Dump(r, func(body []byte) error {
		if len(body) < 4 || (body[0] != unix.NFPROTO_IPV4 && body[0] != unix.NFPROTO_IPV6 && body[0] != unix.NFPROTO_INET) {
			return nil
		}
		c := foreignChain{family: body[0]}
		hook, typ := uint32(0), ""
		for t, v := range netlink.Attrs(body[4:]) {
			switch {
			case t == unix.NFTA_CHAIN_TABLE:
				c.table = text(v)
			case t == unix.NFTA_CHAIN_NAME:
				c.name = text(v)
			case t == unix.NFTA_CHAIN_TYPE:
				typ = text(v)
			case t == unix.NFTA_CHAIN_POLICY && len(v) == 4:
				c.policyDrop = binary.BigEndian.Uint32(v) == nfDrop
			case t == unix.NFTA_CHAIN_HOOK:
				for t, v := range netlink.Attrs(v) {
					if t == unix.NFTA_HOOK_HOOKNUM && len(v) == 4 {
						hook = binary.BigEndian.Uint32(v)
					}
				}
			}
		}
		if typ == "filter" && hook == unix.NF_INET_FORWARD && !strings.HasPrefix(c.table, "sampan") {
			chains = append(chains, c)
		}
		return nil
	})
	return chains, err
}

func listRules(conn *netlink.Conn, family uint8, table, chain string) ([]foreignRule, error) {
	var rules []foreignRule
	r := nftMsg(fmt.Sprintf("list the rules of the nftables chain %s %s", table, chain), unix.NFT_MSG_GETRULE, 0, family)
	r.String(unix.NFTA_RULE_TABLE, table).String(unix.NFTA_RULE_CHAIN, chain)
	err := conn.Dump(r, func(body []byte) error {
		if len(body) < 4 {
			return nil
		}
		rule := foreignRule{always: true}
		inChain := true
		for t, v := range netlink.Attrs(body[4:]) {
			switch {
			case t == unix.NFTA_RULE_CHAIN:
				inChain = text(v) == chain
			case t == unix.NFTA_RULE_HANDLE && len(v) == 8:
				rule.handle = binary.BigEndian.Uint64(v)
			case t == unix.NFTA_RULE_USERDATA:
				rule.userData = bytes.Clone(v)
			case t == unix.NFTA_RULE_EXPRESSIONS:
				for _, e := range netlink.Attrs(v) {
					rule.add(e)
				}
			}
		}
		if inChain {
			rules = append(rules, rule)
		}
		return nil
	})
	return rules, err
}

// add takes one expression of the rule into account. Whatever is not known to
// match every packet counts as a condition.
func (r *foreignRule) add(e []byte) {
	var name string
	var data []byte
	for t, v := range netlink.Attrs(e) {
		switch t {
		case unix.NFTA_EXPR_NAME:
			name = text(v)
		case unix.NFTA_EXPR_DATA:
			data = v
		}
	}
	switch name {
	case "counter", "log":
	case "reject":
		r.drops = true
	case "target": // an xtables target of iptables-nft
		for t, v := range netlink.Attrs(data) {
			if t == unix.NFTA_TARGET_NAME {
				switch text(v) {
				case "REJECT", "DROP":
					r.drops = true
				case "LOG", "NFLOG":
				default:
					r.always = false
				}
			}
		}
	case "immediate":
		r.verdict(data)
	default:
		r.always = false
	}
}

func (r *foreignRule) verdict(data []byte) {
	for t, v := range netlink.Attrs(data) {
		if t != unix.NFTA_IMMEDIATE_DATA {
			continue
		}
		for t, v := range netlink.Attrs(v) {
			if t != unix.NFTA_DATA_VERDICT {
				continue
			}
			for t, v := range netlink.Attrs(v) {
				switch {
				case t == unix.NFTA_VERDICT_CHAIN:
					r.target = text(v)
				case t == unix.NFTA_VERDICT_CODE && len(v) == 4:
					switch int32(binary.BigEndian.Uint32(v)) {
					case nfDrop:
						r.drops = true
					case nfAccept, unix.NFT_RETURN:
						r.final = true
					case unix.NFT_GOTO:
						r.isGoto = true
					}
				}
			}
		}
	}
}

func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
