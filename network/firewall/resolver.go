package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// resolverTable lies in a container's namespace.
const resolverTable = "sampan-resolver"

const dnsPort = 53

// RedirectResolver translates port 53 of addr to the ports, for what the calling
// thread's network namespace sends itself. An earlier redirection is replaced.
func RedirectResolver(addr netip.Addr, udp, tcp uint16) error {
	conn, err := netlink.OpenFamily(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer conn.Close()
	var reqs []*netlink.Request
	look := nftMsg("look up the nftables table inet "+resolverTable, unix.NFT_MSG_GETTABLE, 0, unix.NFPROTO_INET).String(unix.NFTA_TABLE_NAME, resolverTable)
	if conn.Get(look, func([]byte) error { return nil }) == nil {
		// Only then: a deletion waits for the kernel's readers, 12 ms here.
		reqs = append(reqs, delTable(resolverTable))
	}
	reqs = append(reqs, addTable(resolverTable, 0), addChain(resolverTable, chainOutput))
	for proto, port := range map[byte]uint16{unix.IPPROTO_UDP: udp, unix.IPPROTO_TCP: tcp} {
		r, err := addRule(unix.NFPROTO_INET, resolverTable, chainOutput.name, rulePos{}, nil, redirectPort(proto, addr, port)...)
		if err != nil {
			return err
		}
		reqs = append(reqs, r)
	}
	if err := conn.Batch(batchBegin(), batchEnd(), reqs...); err != nil {
		return fmt.Errorf("redirect the resolver's port in a container: %w", err)
	}
	return nil
}

// redirectPort translates addr:53 to addr:port. Not nft's redirect, which would
// change the address to 127.0.0.1.
func redirectPort(proto byte, addr netip.Addr, port uint16) []expr.Any {
	a := addr.As4()
	return rule(
		matchMeta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{unix.NFPROTO_IPV4}),
		[]expr.Any{
			&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: ip4.dest, Len: 4},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: a[:]},
		},
		matchMeta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{proto}),
		[]expr.Any{
			destPort(reg1),
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binary.BigEndian.AppendUint16(nil, dnsPort)},
			&expr.Immediate{Register: reg1, Data: a[:]},
			&expr.Immediate{Register: reg9, Data: regPort(port)},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg1, RegProtoMin: reg9, Specified: true},
		},
	)
}
