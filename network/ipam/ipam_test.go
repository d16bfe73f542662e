package ipam

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func pool(t *testing.T, network, within string) *Pool {
	t.Helper()
	var w netip.Prefix
	if within != "" {
		w = netip.MustParsePrefix(within)
	}
	p, err := NewPool(netip.MustParsePrefix(network), w)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func next(t *testing.T, p *Pool, want string) netip.Addr {
	t.Helper()
	a, err := p.Next()
	if err != nil || a.String() != want {
		t.Fatalf("Next = %v, %v; want %s", a, err, want)
	}
	return a
}

func TestRoundRobin(t *testing.T) {
	p := pool(t, "10.0.0.0/29", "")
	if !p.Take(netip.MustParseAddr("10.0.0.1")) {
		t.Fatal("the router's address is free in a new pool")
	}
	a := next(t, p, "10.0.0.2")
	next(t, p, "10.0.0.3")
	p.Release(a)
	p.Release(a)
	for _, want := range []string{"10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"} {
		next(t, p, want)
	}
	if _, err := p.Next(); !errors.Is(err, fault.Exhausted) {
		t.Errorf("Next of a full pool = %v, want exhausted", err)
	}
	p.Release(netip.MustParseAddr("10.0.0.5"))
	next(t, p, "10.0.0.5")
	if p.Take(netip.MustParseAddr("10.0.0.5")) || p.Take(netip.MustParseAddr("10.0.1.5")) || p.Take(netip.MustParseAddr("::1")) {
		t.Error("Take of a taken or foreign address must fail")
	}
}

func TestRanges(t *testing.T) {
	cases := []struct{ network, within, first, last string }{
		{"10.0.0.0/24", "", "10.0.0.1", "10.0.0.254"},
		{"10.0.0.0/24", "10.0.0.0/25", "10.0.0.1", "10.0.0.127"},
		{"10.0.0.0/24", "10.0.0.64/26", "10.0.0.64", "10.0.0.127"},
		{"255.255.255.0/24", "255.255.255.252/30", "255.255.255.252", "255.255.255.254"},
		{"0.0.0.0/8", "", "0.0.0.1", ""},
	}
	for _, c := range cases {
		p := pool(t, c.network, c.within)
		next(t, p, c.first)
		if c.last == "" {
			continue
		}
		p.SetCursor(netip.MustParseAddr(c.last).Prev())
		next(t, p, c.last)
		p.Release(netip.MustParseAddr(c.first))
		next(t, p, c.first)
	}
	for _, bad := range [][2]string{{"10.0.0.0/31", ""}, {"fd00::/127", ""}, {"10.0.0.0/24", "10.0.1.0/24"}, {"10.0.0.0/24", "10.0.0.0/16"}} {
		var w netip.Prefix
		if bad[1] != "" {
			w = netip.MustParsePrefix(bad[1])
		}
		if _, err := NewPool(netip.MustParsePrefix(bad[0]), w); !errors.Is(err, fault.Invalid) {
			t.Errorf("NewPool(%q) = %v, want invalid", bad, err)
		}
	}
	// A cursor outside, as after a change of --fixed-cidr, starts over.
	p := pool(t, "10.0.0.0/24", "10.0.0.64/26")
	p.SetCursor(netip.MustParseAddr("10.0.0.7"))
	next(t, p, "10.0.0.64")
	p.SetCursor(netip.Addr{})
	p.SetCursor(netip.MustParseAddr("10.0.0.250"))
	next(t, p, "10.0.0.65")
}

func TestFindFree(t *testing.T) {
	cases := []struct {
		used []string
		want string
	}{
		{nil, "172.17.0.0/16"},
		{[]string{"172.17.3.0/24"}, "172.18.0.0/16"},
		{[]string{"172.16.0.0/12"}, "192.168.0.0/20"},
		{[]string{"172.16.0.0/12", "192.168.0.0/17", "192.168.130.7/32"}, "192.168.144.0/20"},
		{[]string{"fd00::/8"}, "172.17.0.0/16"},
	}
	for _, c := range cases {
		var used []netip.Prefix
		for _, u := range c.used {
			used = append(used, netip.MustParsePrefix(u))
		}
		if got, err := FindFree(DockerRanges(), used); err != nil || got.String() != c.want {
			t.Errorf("FindFree(%v) = %v, %v; want %s", c.used, got, err, c.want)
		}
	}
	if _, err := FindFree(DockerRanges(), []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("everything in use: %v", err)
	}
	if _, err := FindFree([]Range{{netip.MustParsePrefix("10.0.0.0/16"), 8}}, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("size wider than the block: %v", err)
	}
}

func TestIPv6(t *testing.T) {
	p := pool(t, "fd00:1::/64", "")
	router, err := p.Lowest()
	if err != nil || router.String() != "fd00:1::1" {
		t.Fatalf("Lowest = %v, %v", router, err)
	}
	next(t, p, "fd00:1::2")
	next(t, p, "fd00:1::3")
	if !p.Take(netip.MustParseAddr("fd00:1::ffff:0:0:1")) || p.Take(netip.MustParseAddr("fd00:1::ffff:0:0:1")) {
		t.Error("Take of one address")
	}
	wide := pool(t, "fd00:1::/48", "fd00:1:0:5::/64")
	if a, err := wide.Next(); !netip.MustParsePrefix("fd00:1:0:5::/64").Contains(a) || err != nil {
		t.Errorf("a range beyond the first /64 gives %v", a)
	}
	small := pool(t, "fd00:1::/126", "")
	next(t, small, "fd00:1::1")
	next(t, small, "fd00:1::2")
	next(t, small, "fd00:1::3")
	if _, err := small.Next(); !errors.Is(err, fault.Exhausted) {
		t.Errorf("Next of a full pool = %v, want exhausted", err)
	}
}

func TestFindFree6(t *testing.T) {
	prefix := netip.MustParsePrefix
	a, err := FindFree6(nil, "one", nil)
	b, err2 := FindFree6(nil, "two", nil)
	again, _ := FindFree6(nil, "one", nil)
	moved, _ := FindFree6(nil, "one", []netip.Prefix{a})
	if err != nil || err2 != nil || a == b || a != again || moved.Overlaps(a) || a.Bits() != 64 || a.Addr().As16()[0] != 0xfd {
		t.Errorf("unique local networks: %v, %v, again %v, moved %v (%v, %v)", a, b, again, moved, err, err2)
	}
	ranges := []Range{{prefix("10.0.0.0/8"), 24}, {prefix("2001:db8::/46"), 64}}
	got, err := FindFree6(ranges, "x", []netip.Prefix{prefix("2001:db8::/64"), prefix("2001:db8:1::/48")})
	if err != nil || got != prefix("2001:db8:0:1::/64") {
		t.Errorf("FindFree6 = %v, %v", got, err)
	}
	if got, err = FindFree6(ranges, "x", []netip.Prefix{prefix("2001:db8::/48")}); err != nil || got != prefix("2001:db8:1::/64") {
		t.Errorf("FindFree6 = %v, %v", got, err)
	}
	if _, err := FindFree6(ranges, "x", []netip.Prefix{prefix("2001:db8::/40")}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("FindFree6 of full ranges = %v", err)
	}
}
