package firewall

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkChange is the time of a change beside few and many others: it must not
// grow with them.
func BenchmarkChange(b *testing.B) {
	many := func(n int) (nets []Network, ports []Mapping) {
		for i := range n {
			subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 4), byte(i << 4), 0}), 28)
			nets = append(nets, Network{Bridge: fmt.Sprintf("br-%d", i), Subnets: []netip.Prefix{subnet}, ICC: true, Masquerade: true})
		}
		for i := range 10 * n {
			ports = append(ports, Mapping{unix.IPPROTO_TCP, netip.IPv4Unspecified(), uint16(10000 + i), netip.MustParseAddrPort("10.0.0.2:80")})
		}
		return nets, ports
	}
	for _, n := range []int{1, 100, 1000} {
		nets, ports := many(n)
		open := func(b *testing.B) *Table {
			tab, err := Open(config(), nets, ports)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = tab.Remove() })
			return tab
		}
		b.Run(fmt.Sprintf("port beside %d", len(ports)), func(b *testing.B) {
			tab := open(b)
			one := []Mapping{{unix.IPPROTO_TCP, netip.IPv4Unspecified(), 80, netip.MustParseAddrPort("10.0.0.2:80")}}
			for b.Loop() {
				if err := tab.Publish(one); err != nil {
					b.Fatal(err)
				}
				if err := tab.Unpublish(one); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("network beside %d", len(nets)), func(b *testing.B) {
			tab := open(b)
			one := Network{Bridge: "br-one", Subnets: []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16")}, ICC: true, Masquerade: true}
			for b.Loop() {
				if err := tab.AddNetwork(one); err != nil {
					b.Fatal(err)
				}
				if err := tab.RemoveNetwork(one.Bridge); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
