package names

import (
	"net/netip"
	"slices"
	"testing"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestIndex(t *testing.T) {
	var x Index
	web := Member{ContainerID: "c1", NetworkID: "n1", Network: "front", Names: []string{"web", "www", "abc"}, Addrs: addrs("10.0.0.2", "fd00::2"), Links: map[string]string{"database": "db"}}
	x.Add(web)
	x.Add(Member{ContainerID: "c2", NetworkID: "n1", Network: "front", Names: []string{"www2", "WWW", "def"}, Addrs: addrs("10.0.0.3")})
	x.Add(Member{ContainerID: "c2", NetworkID: "n2", Network: "back", Internal: true, Names: []string{"www2"}, Addrs: addrs("10.1.0.3")})
	x.Add(Member{ContainerID: "c3", NetworkID: "n2", Network: "back", Internal: true, Names: []string{"db"}, Addrs: addrs("10.1.0.4")})
	x.Add(Member{ContainerID: "c5", NetworkID: "n1", Network: "front", Names: []string{"db"}, Addrs: addrs("10.0.0.5")})
	x.Add(Member{ContainerID: "c4", NetworkID: "n0", Network: "bridge", Plain: true, Names: []string{"plain"}, Addrs: addrs("172.17.0.2")})
	x.Add(web) // twice is once

	for _, c := range []struct {
		from, name string
		want       []netip.Addr
		found      bool
	}{
		{"c2", "web", addrs("10.0.0.2", "fd00::2"), true},
		{"c2", "WeB.", addrs("10.0.0.2", "fd00::2"), true},
		{"c1", "www", addrs("10.0.0.2", "fd00::2", "10.0.0.3"), true},
		{"c2", "db", addrs("10.0.0.5", "10.1.0.4"), true},
		{"c2", "db.back", addrs("10.1.0.4"), true},
		{"c1", "db.back", nil, false}, // not its network
		{"c1", "database", addrs("10.0.0.5"), true},
		{"c2", "database", nil, false}, // a link is its owner's alone
		{"c3", "web", nil, false},
		{"c4", "plain", nil, false},
		{"nobody", "web", nil, false},
	} {
		got, found := x.Lookup(c.from, c.name)
		slices.SortFunc(got, netip.Addr.Compare)
		slices.SortFunc(c.want, netip.Addr.Compare)
		if !slices.Equal(got, c.want) || found != c.found {
			t.Errorf("Lookup(%s, %s) = %v, %v, want %v, %v", c.from, c.name, got, found, c.want, c.found)
		}
	}
	if name, ok := x.Reverse("c2", netip.MustParseAddr("fd00::2")); !ok || name != "web.front" {
		t.Errorf("Reverse = %q, %v", name, ok)
	}
	if name, ok := x.Reverse("c3", netip.MustParseAddr("10.0.0.2")); ok {
		t.Errorf("Reverse tells a stranger %q", name)
	}
	for id, want := range map[string][2]bool{"c1": {true, true}, "c3": {false, true}, "c4": {true, false}, "nobody": {}} {
		if got := [2]bool{x.Outside(id), x.Resolves(id)}; got != want {
			t.Errorf("%s: outside, resolves = %v, want %v", id, got, want)
		}
	}
	x.Remove("c1", "n1")
	if _, found := x.Lookup("c2", "web"); found {
		t.Error("a name outlives its container")
	}
	for _, k := range [][2]string{{"c2", "n1"}, {"c2", "n2"}, {"c3", "n2"}, {"c5", "n1"}, {"c4", "n0"}, {"c4", "n0"}} {
		x.Remove(k[0], k[1])
	}
	if len(x.containers)+len(x.networks)+len(x.addrs) != 0 {
		t.Errorf("left: %v %v %v", x.containers, x.networks, x.addrs)
	}
}
