package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/network/settings"
	"github.com/sampan-containers/sampan/state"
)

// TestCreateAndRemove: many networks at once and one after the other, with no
// subnet twice and nothing left.
func TestCreateAndRemove(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	seen := map[netip.Prefix]string{}
	for round := range 3 {
		for i := range 20 {
			n, err := s.Create(t.Context(), mobynet.CreateRequest{Name: fmt.Sprintf("n%d", i), EnableIPv6: new(bool)})
			if err != nil {
				t.Fatalf("round %d, network %d: %v", round, i, err)
			}
			if p := n.IPAM.Config[0].Subnet; seen[p] != "" {
				t.Errorf("%s is given to %s and %s", p, seen[p], n.Name)
			} else {
				seen[p] = n.Name
			}
		}
		if round == 1 {
			gone, err := s.Prune(t.Context(), func(*mobynet.Inspect) bool { return true }, false)
			if err != nil || len(gone) != 20 {
				t.Errorf("prune: %d, %v", len(gone), err)
			}
		} else {
			for i := range 20 {
				if _, err := s.Remove(t.Context(), fmt.Sprintf("n%d", i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		clear(seen)
	}
	if rules := l.run("nft", "list", "table", "inet", "sampan0"); strings.Contains(rules, "br-") {
		t.Errorf("rules left:\n%s", rules)
	}
}

// TestIDBeforeName: a network that is named like the ID of another one does not hide it.
func TestIDBeforeName(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	one, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{one.ID, one.ID[:12]} {
		if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	for ref, want := range map[string]string{one.ID: "one", one.ID[:12]: one.ID[:12], one.ID[:20]: "one"} {
		if n, err := s.Inspect(ref); err != nil || n.Name != want {
			t.Errorf("%s: %v, %v, want the network %s", ref, n, err, want)
		}
	}
}

// TestRemovedBridgesGo: bridges that are removed together go by one request, and
// each by its own where somebody else's link in their group stands in the way.
func TestRemovedBridgesGo(t *testing.T) {
	const bridges = 10
	l := newLab(t)
	s := l.service(l.config())
	l.run("ip", "link", "add", "br-mine", "type", "bridge")
	t.Cleanup(func() { l.run("ip", "link", "del", "br-mine") })
	t.Cleanup(func() { l.run("ip", "link", "set", "lo", "group", "0") })
	for _, group := range []string{"0", fmt.Sprint(bridge.RemovalGroup)} { // lo cannot be removed
		l.run("ip", "link", "set", "lo", "group", group)
		for i := range bridges {
			l.network(s, fmt.Sprintf("n%d", i), func(*mobynet.CreateRequest) {})
		}
		if n := strings.Count(l.run("ip", "-o", "link"), ": br-"); n != bridges+1 {
			t.Fatalf("%d bridges are there before the removal, want %d", n, bridges+1)
		}
		for i := range bridges {
			if _, err := s.Remove(t.Context(), fmt.Sprintf("n%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if addrs := l.run("ip", "-o", "-4", "addr"); strings.Contains(addrs, ": br-") {
			t.Errorf("a removed network keeps its address:\n%s", addrs)
		}
		s.remover.Wait()
		if links := l.run("ip", "-o", "link"); strings.Count(links, ": br-") != 1 || !strings.Contains(links, ": br-mine") {
			t.Errorf("lo in group %s: links after the removal:\n%s", group, links)
		}
	}
	if l.log.String() != "" && strings.Contains(l.log.String(), "WARN") {
		t.Errorf("the removal warns:\n%s", l.log)
	}
}

// TestLinksGoWithTheirNetwork: the link of a container that ended goes with the
// network, also while something keeps its namespace.
func TestLinksGoWithTheirNetwork(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	l.network(s, "mine", func(*mobynet.CreateRequest) {})
	l.join(s, "one", nil, EndpointRequest{Network: "mine"}) // whose descriptor keeps the namespace
	if links := l.run("ip", "-o", "link"); strings.Count(links, ": veth") != 1 {
		t.Fatalf("links of a container:\n%s", links)
	}
	if err := s.Leave(t.Context(), fmt.Sprintf("%064x", l.ids)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Remove(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	s.remover.Wait()
	if links := l.run("ip", "-o", "link"); strings.Contains(links, ": veth") || strings.Contains(links, ": br-") {
		t.Errorf("links after the removal of their network:\n%s", links)
	}
}

// TestSweep: what a daemon left that died in the middle of a creation goes; what
// another daemon made, or nobody's, stays.
func TestSweep(t *testing.T) {
	l := newLab(t)
	for name, alias := range map[string]string{"br-lost": "sampan network of sampan0", "br-other": "sampan network of sampan7", "br-mine": ""} {
		l.run("ip", "link", "add", name, "type", "bridge")
		if alias != "" {
			l.run("ip", "link", "set", name, "alias", alias)
		}
		if name != "br-lost" {
			t.Cleanup(func() { l.run("ip", "link", "del", name) })
		}
	}
	// A container's link that lingers with its namespace, and somebody's own.
	for _, name := range []string{"veth0123456789a", "vethmine"} {
		l.run("ip", "link", "add", name, "type", "veth", "peer", "name", "p-"+name[4:])
		l.run("ip", "link", "set", name, "master", "br-lost")
	}
	t.Cleanup(func() { l.run("ip", "link", "del", "vethmine") })
	s := l.service(l.config())
	if links := l.run("ip", "-o", "link"); strings.Contains(links, "veth0123456789a") || !strings.Contains(links, "vethmine") {
		t.Errorf("links after the start:\n%s", links)
	}
	if links := l.run("ip", "-o", "link"); strings.Contains(links, "br-lost") || !strings.Contains(links, "br-other") || !strings.Contains(links, "br-mine") {
		t.Errorf("links after the start:\n%s", links)
	}
	if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "kept"}); err != nil {
		t.Fatal(err)
	}
}

// TestSweepLinks: the link of a container whose network was removed goes, if its
// namespace does not; those that are not ours, and those on a bridge, stay.
func TestSweepLinks(t *testing.T) {
	l := newLab(t)
	l.run("ip", "link", "add", "br-mine", "type", "bridge")
	t.Cleanup(func() { l.run("ip", "link", "del", "br-mine") })
	const stale, attached, docker, word = "veth0123456789a", "veth0123456789b", "veth0123456", "vethgogogogogog"
	for i, name := range []string{stale, attached, docker, word} {
		l.run("ip", "link", "add", name, "type", "veth", "peer", "name", fmt.Sprint("peer", i))
		if name != stale {
			t.Cleanup(func() { l.run("ip", "link", "del", name) })
		}
	}
	l.run("ip", "link", "set", attached, "master", "br-mine")
	l.service(l.config())
	for end := time.Now().Add(patience); strings.Contains(l.run("ip", "-o", "link"), stale); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the link stays:\n%s", l.run("ip", "-o", "link"))
		}
	}
	links := l.run("ip", "-o", "link")
	for _, name := range []string{attached, docker, word} {
		if !strings.Contains(links, name) {
			t.Errorf("%s is gone:\n%s", name, links)
		}
	}
}

// TestConnectFailsWhole: a connect that cannot be done leaves the container as it
// was, with its record; the transaction carries what the caller adds.
func TestConnectFailsWhole(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	web := l.container(s, tcp(8080, 80))
	id := fmt.Sprintf("%064x", 1)
	if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "a-first"}); err != nil {
		t.Fatal(err)
	}
	connect := func(r EndpointRequest, also func(*state.Tx) error) (*Joined, error) {
		return s.Connect(context.Background(), ConnectRequest{ContainerID: id, Name: "c1", NetNS: web.NetNS, Endpoint: r, Also: also})
	}
	before := l.in(web.NetNS, "ip", "-o", "addr")
	broken := errors.New("broken")
	for _, c := range []struct {
		r    EndpointRequest
		also func(*state.Tx) error
		want error
	}{
		{EndpointRequest{Network: "nope"}, nil, fault.NotFound},
		{EndpointRequest{Network: "bridge"}, nil, fault.Forbidden},
		{EndpointRequest{Network: "a-first", IP: netip.MustParseAddr("192.0.2.9")}, nil, fault.Invalid},
		{EndpointRequest{Network: "a-first", Options: map[string]string{settings.OptIfName: "lo"}}, nil, fault.Invalid},
		{EndpointRequest{Network: "a-first", Options: map[string]string{settings.OptSysctls: "net.ipv4.conf.eth0.x=1"}}, nil, fault.Invalid},
		{EndpointRequest{Network: "a-first"}, func(*state.Tx) error { return broken }, broken},
	} {
		if _, err := connect(c.r, c.also); !errors.Is(err, c.want) {
			t.Errorf("connect %+v = %v, want %v", c.r, err, c.want)
		}
		if after := l.in(web.NetNS, "ip", "-o", "addr"); after != before {
			t.Errorf("connect %+v left\n%s", c.r, after)
		}
	}
	// The new network comes first by name: the way out and the port go over it.
	joined, err := connect(EndpointRequest{Network: "a-first", Aliases: []string{"www"}, Options: map[string]string{
		settings.OptIfName: "up0", settings.OptSysctls: "net.ipv4.conf.IFNAME.log_martians=1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.serve(web.NetNS, "tcp4", ":80")
	l.reaches("the port over the new network", nil, "tcp4", "127.0.0.1:8080")
	if out := l.in(web.NetNS, "ip", "route"); !strings.Contains(out, "default via "+joined.Endpoint("a-first").Gateway.String()+" dev up0") {
		t.Errorf("routes:\n%s", out)
	}
	if out := l.in(web.NetNS, "cat", "/proc/sys/net/ipv4/conf/up0/log_martians"); out != "1\n" {
		t.Errorf("sysctl of the interface: %q", out)
	}
	if rules := l.run("nft", "list", "table", "inet", "sampan0"); !strings.Contains(rules, joined.Endpoint("a-first").IP.Addr().String()+" . 80") {
		t.Errorf("the port does not lead to the new network:\n%s", rules)
	}
	if _, err := s.Remove(t.Context(), "a-first"); !errors.Is(err, fault.Forbidden) {
		t.Errorf("remove of a network in use: %v", err)
	}
	if _, err := s.Disconnect(t.Context(), id, "a-first", web.NetNS, nil); err != nil {
		t.Fatal(err)
	}
	l.reaches("the port over the first network again", nil, "tcp4", "127.0.0.1:8080")
	if after := l.in(web.NetNS, "ip", "-o", "addr"); after != before {
		t.Errorf("disconnect left\n%s", after)
	}
	if names, _ := s.Names().Lookup(id, "www"); len(names) != 0 {
		t.Errorf("a name is left: %v", names)
	}
}

// TestFirstRecords: a record of the first daemons is read.
func TestFirstRecords(t *testing.T) {
	b, err := decodeSandbox("c", []byte(`{"Network":"bridge","NetworkID":"n","EndpointID":"e","IP":"172.17.0.2/16","Gateway":"172.17.0.1","MAC":"AkKsEQAC","Ports":[{"Proto":"tcp","HostIP":"0.0.0.0","HostPort":80,"ContainerPort":80,"Splice":false}],"ContainerID":"c","Container":"web","Link":"veth1"}`))
	if err != nil || len(b.Endpoints) != 1 || b.Endpoints[0].Link != "veth1" || b.Endpoints[0].Interface != "eth0" || len(b.Ports) != 1 || b.Container != "web" {
		t.Fatalf("%+v, %v", b, err)
	}
	if v4, v6 := b.ways(); v4 == nil || v6 != nil {
		t.Errorf("ways = %v, %v", v4, v6)
	}
}

// join puts a container into networks until the end of the test.
func (l *lab) join(s *Service, name string, ports []PortRequest, eps ...EndpointRequest) *Sandbox {
	l.t.Helper()
	l.ids++
	sb, err := s.Join(context.Background(), JoinRequest{ContainerID: fmt.Sprintf("%064x", l.ids), Name: name, Endpoints: eps, Ports: ports})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(sb.Close)
	return sb
}

func (l *lab) network(s *Service, name string, change func(*mobynet.CreateRequest)) {
	l.t.Helper()
	r := mobynet.CreateRequest{Name: name, Options: map[string]string{}}
	change(&r)
	if _, err := s.Create(l.t.Context(), r); err != nil {
		l.t.Fatal(err)
	}
}

// TestGatewayModes: who reaches what from another machine that has a route.
func TestGatewayModes(t *testing.T) {
	const mode = "com.docker.network.bridge.gateway_mode_ipv4"
	l := newLab(t)
	outside := l.machine()
	s := l.service(l.config())
	for i, m := range []string{"nat", "nat-unprotected", "routed", "isolated"} {
		l.network(s, m, func(r *mobynet.CreateRequest) {
			r.Options[mode] = m
			r.Internal = m == "isolated"
			r.IPAM = &mobynet.IPAM{Config: []mobynet.IPAMConfig{{Subnet: netip.MustParsePrefix(fmt.Sprintf("10.60.%d.0/24", i))}}}
		})
		sb := l.join(s, m, []PortRequest{tcp(uint16(8080+i), 80)}, EndpointRequest{Network: m})
		l.serve(sb.NetNS, "tcp4", ":80")
		l.serve(sb.NetNS, "tcp4", ":81")
	}
	l.in(outside, "ip", "route", "add", "10.60.0.0/16", "via", "192.0.2.1")
	for _, c := range []struct {
		what, address string
		open          bool
	}{
		{"nat: the host's port", "192.0.2.1:8080", true}, {"nat: published, directly", "10.60.0.2:80", false}, {"nat: another port", "10.60.0.2:81", false},
		{"unprotected: the host's port", "192.0.2.1:8081", true}, {"unprotected: directly", "10.60.1.2:80", true}, {"unprotected: another port", "10.60.1.2:81", true},
		{"routed: the host's port", "192.0.2.1:8082", false}, {"routed: published, directly", "10.60.2.2:80", true}, {"routed: another port", "10.60.2.2:81", false},
		{"isolated: directly", "10.60.3.1:80", false},
	} {
		if c.open {
			l.reaches(c.what, outside, "tcp4", c.address)
		} else {
			l.blocked(c.what, outside, "tcp4", c.address)
		}
	}
	if out := l.run("ip", "-o", "-4", "addr"); strings.Contains(out, "10.60.3.") {
		t.Errorf("the host has an address in an isolated network:\n%s", out)
	}
	// After a flush by somebody else, and with the next daemon.
	l.run("nft", "flush", "ruleset")
	eventually(t, "the table is back", func() bool { return strings.Contains(l.run("nft", "list", "ruleset"), "table inet sampan0") })
	l.blocked("nat: directly, after a flush", outside, "tcp4", "10.60.0.2:80")
	l.blocked("routed: another port, after a flush", outside, "tcp4", "10.60.2.2:81")
	l.reaches("routed: published, after a flush", outside, "tcp4", "10.60.2.2:80")
}

// TestMacvlan: containers are machines on the wire, in each mode; a VLAN of the
// parent is made and goes with its network.
func TestMacvlan(t *testing.T) {
	l := newLab(t)
	outside := l.machine()
	s := l.service(l.config())
	for _, mode := range []string{"bridge", "private", "vepa"} {
		t.Run(mode, func(t *testing.T) {
			m := "mode-" + mode
			l.macvlan(s, m, map[string]string{"parent": "wire", "macvlan_mode": mode})
			one := l.join(s, m+"1", nil, EndpointRequest{Network: m, IP: netip.MustParseAddr("192.0.2.11")})
			l.serve(one.NetNS, "tcp4", ":80")
			l.reaches("the wire to a container", outside, "tcp4", "192.0.2.11:80")
			id := fmt.Sprintf("%064x", l.ids)
			if mode == "bridge" || mode == "private" {
				two := l.join(s, m+"2", nil, EndpointRequest{Network: m, IP: netip.MustParseAddr("192.0.2.12")})
				if mode == "bridge" {
					l.reaches("container to container", two.NetNS, "tcp4", "192.0.2.11:80")
				} else {
					l.blocked("container to container", two.NetNS, "tcp4", "192.0.2.11:80")
				}
				two.Close()
				if err := s.Leave(t.Context(), fmt.Sprintf("%064x", l.ids)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Leave(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			one.Close()
			if _, err := s.Remove(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		})
	}
	if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "x", Driver: "macvlan", Options: map[string]string{"parent": "nope"}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("a parent that does not exist: %v", err)
	}
	t.Run("without a parent", func(t *testing.T) {
		if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "nowhere", Driver: "macvlan"}); errors.Is(err, fault.NotImplemented) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		a := l.join(s, "a", nil, EndpointRequest{Network: "nowhere"})
		b := l.join(s, "b", nil, EndpointRequest{Network: "nowhere"})
		l.serve(a.NetNS, "tcp4", ":80")
		l.reaches("two containers on a network that leads nowhere", b.NetNS, "tcp4", at(a, 80))
	})
	t.Run("vlan", func(t *testing.T) {
		_, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "vlan", Driver: "macvlan", Options: map[string]string{"parent": "wire.20"}})
		if errors.Is(err, fault.NotImplemented) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if out := l.run("ip", "-d", "link", "show", "wire.20"); !strings.Contains(out, "id 20") {
			t.Errorf("the VLAN's link:\n%s", out)
		}
		if _, err := s.Remove(t.Context(), "vlan"); err != nil {
			t.Fatal(err)
		}
		if out := l.run("ip", "-o", "link"); strings.Contains(out, "wire.20") {
			t.Errorf("the VLAN's link is left:\n%s", out)
		}
	})
}

// macvlan makes a network on the wire.
func (l *lab) macvlan(s *Service, name string, options map[string]string) {
	l.t.Helper()
	l.network(s, name, func(r *mobynet.CreateRequest) {
		r.Driver, r.Options = "macvlan", options
		r.IPAM = &mobynet.IPAM{Config: []mobynet.IPAMConfig{{Subnet: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1")}}}
	})
}

// TestMacvlanPassthru: one container takes the whole interface.
func TestMacvlanPassthru(t *testing.T) {
	l := newLab(t)
	outside := l.machine()
	s := l.service(l.config())
	l.macvlan(s, "whole", map[string]string{"parent": "wire", "macvlan_mode": "passthru"})
	one := l.join(s, "one", nil, EndpointRequest{Network: "whole", IP: netip.MustParseAddr("192.0.2.11")})
	l.serve(one.NetNS, "tcp4", ":80")
	l.reaches("the wire to the container", outside, "tcp4", "192.0.2.11:80")
	_, err := s.Join(t.Context(), JoinRequest{ContainerID: "2", Name: "two", Endpoints: []EndpointRequest{{Network: "whole"}}})
	if err == nil || !strings.Contains(err.Error(), "one passthru container") {
		t.Errorf("a second container: %v", err)
	}
}

// TestMacvlanPassthruAgain: a container that starts again at once does not meet the link
// of its last run, which the kernel is still taking away; nor does the next network.
func TestMacvlanPassthruAgain(t *testing.T) {
	l := newLab(t)
	l.machine()
	s := l.service(l.config())
	for _, mode := range []string{"passthru", "bridge", "passthru"} {
		name := "mv-" + mode
		l.macvlan(s, name, map[string]string{"parent": "wire", "macvlan_mode": mode})
		for range 3 {
			l.join(s, "again", nil, EndpointRequest{Network: name}).Close()
			if err := s.Leave(t.Context(), fmt.Sprintf("%064x", l.ids)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDefaultOptions: the daemon's options reach networks of their driver that do not say
// otherwise, and are shown.
func TestDefaultOptions(t *testing.T) {
	const mtu, name = "com.docker.network.driver.mtu", "com.docker.network.bridge.name"
	l := newLab(t)
	cfg := l.config()
	cfg.DefaultOptions = map[string]map[string]string{settings.Bridge: {mtu: "1400"}}
	s := l.service(cfg)
	for _, c := range []struct{ own, want string }{{"", "1400"}, {"1300", "1300"}} {
		req := mobynet.CreateRequest{Name: "n" + c.want, Options: map[string]string{name: "br-" + c.want}}
		if c.own != "" {
			req.Options[mtu] = c.own
		}
		n, err := s.Create(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if n.Options[mtu] != c.want {
			t.Errorf("options %v", n.Options)
		}
		if out := l.run("ip", "-o", "link", "show", "br-"+c.want); !strings.Contains(out, "mtu "+c.want) {
			t.Errorf("%s", out)
		}
	}
}
