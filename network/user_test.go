package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
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
	s := l.service(l.config())
	if links := l.run("ip", "-o", "link"); strings.Contains(links, "br-lost") || !strings.Contains(links, "br-other") || !strings.Contains(links, "br-mine") {
		t.Errorf("links after the start:\n%s", links)
	}
	if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "kept"}); err != nil {
		t.Fatal(err)
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
