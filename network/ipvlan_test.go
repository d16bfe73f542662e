package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
)

// TestIPvlanOptions: what is wrong is said, and what the kernel lacks.
func TestIPvlanOptions(t *testing.T) {
	l := newLab(t)
	l.machine()
	s := l.service(l.config())
	for _, c := range []struct {
		options map[string]string
		says    string
	}{
		{map[string]string{"parent": "wire", "ipvlan_mode": "l4"}, "l2, l3 or l3s"},
		{map[string]string{"parent": "wire", "ipvlan_flag": "open"}, "bridge, private or vepa"},
		{map[string]string{"parent": "wire", "macvlan_mode": "bridge"}, "not known for the driver ipvlan"},
		{map[string]string{"parent": "lo"}, "loopback"},
	} {
		_, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "x", Driver: "ipvlan", Options: c.options})
		if !errors.Is(err, fault.Invalid) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%v: %v, want %q", c.options, err, c.says)
		}
	}
	_, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "x", Driver: "ipvlan", Options: map[string]string{"parent": "wire"}})
	if err != nil && (!errors.Is(err, fault.NotImplemented) || !strings.Contains(err.Error(), "module ipvlan")) {
		t.Errorf("an ipvlan network: %v", err)
	}
}

// TestIPvlan: containers have addresses of their own on the wire, and the MAC address of
// the host's interface. In l2 they share its subnet; in l3 and l3s it routes to theirs.
func TestIPvlan(t *testing.T) {
	for _, c := range []struct{ mode, flag, subnet, one, two string }{
		{"", "", "192.0.2.0/24", "192.0.2.11", "192.0.2.12"},
		{"l2", "private", "192.0.2.0/24", "192.0.2.11", "192.0.2.12"},
		{"l3", "bridge", "10.88.0.0/24", "10.88.0.11", "10.88.0.12"},
		{"l3s", "", "10.88.0.0/24", "10.88.0.11", "10.88.0.12"},
	} {
		name := "ip" + c.mode + c.flag
		t.Run(name, func(t *testing.T) {
			// Links on one parent share its mode, and an address is taken while a socket holds
			// its namespace.
			l := newLab(t)
			outside := l.machine()
			s := l.service(l.config())
			_, shown, _ := strings.Cut(l.run("ip", "-o", "link", "show", "wire"), "link/ether ")
			mac := strings.Fields(shown)[0]
			l.in(outside, "ip", "route", "add", "10.88.0.0/24", "via", "192.0.2.1")
			options := map[string]string{"parent": "wire"}
			if c.mode != "" {
				options["ipvlan_mode"] = c.mode
			}
			if c.flag != "" {
				options["ipvlan_flag"] = c.flag
			}
			_, err := s.Create(t.Context(), mobynet.CreateRequest{Name: name, Driver: "ipvlan", Options: options,
				IPAM: &mobynet.IPAM{Config: []mobynet.IPAMConfig{{Subnet: netip.MustParsePrefix(c.subnet), Gateway: netip.MustParsePrefix(c.subnet).Addr().Next()}}}})
			if errors.Is(err, fault.NotImplemented) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "x", Driver: "macvlan", Options: map[string]string{"parent": "wire"}}); !errors.Is(err, fault.Forbidden) {
				t.Errorf("a macvlan network on the same parent: %v", err)
			}
			one := l.join(s, name+"1", nil, EndpointRequest{Network: name, IP: netip.MustParseAddr(c.one)})
			first := fmt.Sprintf("%064x", l.ids)
			two := l.join(s, name+"2", nil, EndpointRequest{Network: name, IP: netip.MustParseAddr(c.two)})
			second := fmt.Sprintf("%064x", l.ids)
			if got := l.in(one.NetNS, "ip", "-o", "link", "show", "eth0"); !strings.Contains(got, mac) {
				t.Errorf("the link has another MAC address than %s: %s", mac, got)
			}
			if e := one.Joined.Endpoints[0]; e.MAC != nil {
				t.Errorf("inspect says the MAC address is %s", e.MAC)
			}
			l.serve(one.NetNS, "tcp4", ":80")
			l.serve(outside, "tcp4", ":81")
			l.reaches("the wire to a container", outside, "tcp4", c.one+":80")
			l.reaches("a container to the wire", two.NetNS, "tcp4", "192.0.2.2:81")
			if c.flag == "private" {
				l.blocked("container to container", two.NetNS, "tcp4", c.one+":80")
			} else {
				l.reaches("container to container", two.NetNS, "tcp4", c.one+":80")
			}
			one.Close()
			two.Close()
			for _, id := range []string{first, second} {
				if err := s.Leave(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		})
	}
}
