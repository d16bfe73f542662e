package etcfiles

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

func TestHosts(t *testing.T) {
	ip := []netip.Addr{netip.MustParseAddr("172.17.0.2")}
	gw := []netip.Addr{netip.MustParseAddr("172.17.0.1")}
	cases := []struct {
		name string
		in   Hosts
		want string // what follows the first entries, or part of the error
		bad  bool
	}{
		{name: "plain", in: Hosts{Hostname: "web", IPs: ip}, want: "172.17.0.2\tweb\n"},
		{name: "domain", in: Hosts{Hostname: "web", Domainname: "example.org", IPs: ip}, want: "172.17.0.2\tweb.example.org web\n"},
		{name: "qualified", in: Hosts{Hostname: "web.example.org", IPs: ip}, want: "172.17.0.2\tweb.example.org web\n"},
		{name: "no address", in: Hosts{Hostname: "web"}, want: ""},
		{name: "extra", in: Hosts{Hostname: "web", IPs: ip, Extra: []string{"db:10.0.0.1", "six:::1", "seven:[fd00::7]", "eq=10.0.0.2", "my_host:10.0.0.3"}},
			want: "10.0.0.1\tdb\n::1\tsix\nfd00::7\tseven\n10.0.0.2\teq\n10.0.0.3\tmy_host\n172.17.0.2\tweb\n"},
		{name: "gateway", in: Hosts{Hostname: "web", Gateway: gw, Extra: []string{"host.docker.internal:host-gateway"}}, want: "172.17.0.1\thost.docker.internal\n"},
		{name: "gateway unknown", in: Hosts{Extra: []string{"h:host-gateway"}}, want: "host-gateway-ip", bad: true},
		{name: "no colon", in: Hosts{Extra: []string{"h"}}, want: `"h" (write it as NAME:ADDRESS)`, bad: true},
		{name: "no address", in: Hosts{Extra: []string{"h:x"}}, want: "invalid IP address", bad: true},
		{name: "line break", in: Hosts{Extra: []string{"a\n6.6.6.6 b:10.0.0.1"}}, want: "bad format", bad: true},
		{name: "hostname with a line break", in: Hosts{Hostname: "a\n6.6.6.6 b", IPs: ip}, want: ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, err := c.in.Build()
			if c.bad {
				if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error = %v, want invalid and %q", err, c.want)
				}
				return
			}
			if err != nil || string(b) != localHosts+c.want {
				t.Errorf("got %q, %v; want the local hosts and %q", b, err, c.want)
			}
		})
	}
	b, err := Hosts{Base: []byte("127.0.0.1 me"), Extra: []string{"db:10.0.0.1"}}.Build()
	if err != nil || string(b) != "127.0.0.1 me\n10.0.0.1\tdb\n" {
		t.Errorf("host network: %q, %v", b, err)
	}
}

func TestResolv(t *testing.T) {
	const host = "# made by x\nnameserver 127.0.0.53\nnameserver 9.9.9.9 # quad\nnameserver fe80::1%eth0\nnameserver 2620:fe::fe\ndomain old.example\nsearch a.example b.example\noptions ndots:2 edns0\nsortlist 1.2.3.4\n"
	cases := []struct {
		name                     string
		host                     string
		ipv6                     bool
		servers, search, options []string
		want                     string
	}{
		{name: "filtered", host: host, want: "nameserver 9.9.9.9\nsearch a.example b.example\noptions ndots:2 edns0\n"},
		{name: "with IPv6", host: host, ipv6: true, want: "nameserver 9.9.9.9\nnameserver fe80::1%eth0\nnameserver 2620:fe::fe\nsearch a.example b.example\noptions ndots:2 edns0\n"},
		{name: "only loopback", host: "nameserver 127.0.0.1\nnameserver ::1\n", want: "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"},
		{name: "empty", want: "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"},
		{name: "overridden", host: host, servers: []string{"127.0.0.1", "1.1.1.1"}, search: []string{"x"}, options: []string{"timeout:1"}, want: "nameserver 127.0.0.1\nnameserver 1.1.1.1\nsearch x\noptions timeout:1\n"},
		{name: "no search", host: host, search: []string{"."}, want: "nameserver 9.9.9.9\noptions ndots:2 edns0\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := ParseResolv([]byte(c.host)).Reachable(c.ipv6).Override(c.servers, c.search, c.options)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.Build()); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
	for _, bad := range [][3][]string{{{"dns.example"}}, {nil, {"a\nnameserver 6.6.6.6"}}, {nil, nil, {"ndots:1 x"}}} {
		if _, err := (Resolv{}).Override(bad[0], bad[1], bad[2]); !errors.Is(err, fault.Invalid) {
			t.Errorf("Override(%q) = %v, want invalid", bad, err)
		}
	}
	if !ParseResolv([]byte("nameserver 127.0.0.53\n")).OnlyStub() || ParseResolv([]byte(host)).OnlyStub() {
		t.Error("OnlyStub is wrong")
	}
}

func TestReadHostIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(path, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadHost(path); err == nil {
		t.Error("a file over the limit was read")
	}
	if b, err := ReadHost(path + ".missing"); b != nil || err != nil {
		t.Errorf("a missing file = %q, %v", b, err)
	}
}

func FuzzResolv(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\nsearch a b\noptions x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := ParseResolv(b).Reachable(false)
		if len(r.Servers) == 0 {
			t.Error("no server")
		}
		again := ParseResolv(r.Build())
		if len(again.Servers) != len(r.Servers) || len(again.Search) != len(r.Search) {
			t.Errorf("%q does not survive a round trip: %q", r, again)
		}
	})
}
