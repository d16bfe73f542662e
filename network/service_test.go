package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mobynet "github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/state"
)

// TestPortsInUse: each way a port can be taken gets its class and its sentence.
func TestPortsInUse(t *testing.T) {
	l := newLab(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:7070")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ln6, err := net.Listen("tcp6", "[::]:7071")
	if err != nil {
		t.Fatal(err)
	}
	defer ln6.Close()
	pc, err := net.ListenPacket("udp4", "0.0.0.0:7072")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	s := l.service(l.config())
	l.container(s, tcp(8080, 80), on("127.0.0.1", tcp(8081, 80)))
	cases := []struct {
		name  string
		port  PortRequest
		class error
		text  string
	}{
		{"ours", tcp(8080, 80), fault.Conflict, "Bind for 0.0.0.0:8080 failed: port is already allocated to container c1"},
		{"ours on every address", on("127.0.0.1", tcp(8080, 80)), fault.Conflict, "port is already allocated to container c1"},
		{"ours on one address", tcp(8081, 80), fault.Conflict, "port is already allocated to container c1"},
		{"another program's", tcp(7070, 80), fault.Conflict, "listen tcp 0.0.0.0:7070: bind: address already in use"},
		{"another program's on IPv6", tcp(7071, 80), fault.Conflict, "listen tcp [::]:7071: bind: address already in use"},
		{"another program's by UDP", PortRequest{Proto: "udp", HostPortFirst: 7072, ContainerPort: 53}, fault.Conflict, "listen udp 0.0.0.0:7072: bind: address already in use"},
		{"UDP on IPv6", on("::1", PortRequest{Proto: "udp", HostPortFirst: 8090, ContainerPort: 53}), fault.NotImplemented, "only TCP can be relayed"},
		{"a whole range", PortRequest{Proto: "tcp", HostPortFirst: 8080, HostPortLast: 8081, ContainerPort: 80}, fault.Conflict, "every host port from 8080 to 8081 is in use"},
		{"no such address", on("10.1.2.3", tcp(8090, 80)), fault.Invalid, "this host has no address 10.1.2.3"},
		{"unknown protocol", PortRequest{Proto: "icmp", HostPortFirst: 8090, ContainerPort: 80}, fault.Invalid, "unknown protocol"},
		{"port 0 of the container", PortRequest{Proto: "tcp", HostPortFirst: 8090}, fault.Invalid, "1 to 65535"},
	}
	rules := l.run("nft", "list", "table", "inet", "sampan0")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// The first port is free: it must be free again afterwards.
			_, err := s.Join(t.Context(), JoinRequest{ContainerID: "f", Name: "failing", Ports: []PortRequest{tcp(8099, 80), c.port}})
			if err == nil || !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Join = %v, want class %v and %q", err, c.class, c.text)
			}
			if _, err := s.Joined("f"); !errors.Is(err, fault.NotFound) {
				t.Errorf("a failed Join left an endpoint: %v", err)
			}
		})
	}
	if after := l.run("nft", "list", "table", "inet", "sampan0"); after != rules {
		t.Errorf("failed Joins changed the rules:\n%s\nwas\n%s", after, rules)
	}
	l.container(s, tcp(8099, 80))
}

func TestPortForms(t *testing.T) {
	l := newLab(t)
	cfg := l.config()
	cfg.DefaultBindIP = netip.IPv4Unspecified() // as `dockerd --ip` has it by default
	s := l.service(cfg)
	a := l.container(s, PortRequest{Proto: "tcp", HostPortFirst: 8000, HostPortLast: 8002, ContainerPort: 80}, PortRequest{ContainerPort: 80})
	b := l.container(s, PortRequest{Proto: "tcp", HostPortFirst: 8000, HostPortLast: 8002, ContainerPort: 80}, on("::1", tcp(8500, 80)), on("127.0.0.1", tcp(8500, 80)))
	if got := fmt.Sprint(a.Sockets[0].HostPort, b.Sockets[0].HostPort); got != "8000 8001" {
		t.Errorf("ports from the range = %s, want 8000 8001", got)
	}
	if v4, v6 := a.Sockets[2], a.Sockets[3]; v4.HostPort != v6.HostPort || v4.HostPort < 1024 || v4.Splice || !v6.Splice || v6.HostIP != netip.IPv6Unspecified() {
		t.Errorf("random port: %+v and %+v must share a port; only IPv6 is spliced", v4, v6)
	}
	if n := len(b.Sockets); n != 4 {
		t.Errorf("sockets = %d, want two for the range and one for each address", n)
	}
	// The holder of a spliced socket accepts and relays.
	ln, err := net.FileListener(b.Sockets[2].File)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l.serve(b.NetNS, "tcp4", ":80")
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp4", at(b, 80))
		if err == nil {
			io.Copy(c, up)
			up.Close()
		}
		c.Close()
	}()
	l.reaches("[::1] through the spliced socket", nil, "tcp6", "[::1]:8500")
	// A socket that is not spliced reserves the port and does not listen.
	for _, addr := range []string{"0.0.0.0:8000", "127.0.0.1:8000"} {
		if ln, err := net.Listen("tcp4", addr); err == nil {
			ln.Close()
			t.Errorf("another program could listen on %s", addr)
		}
	}
	if err := s.Leave(t.Context(), strings.Repeat("0", 63)+"1"); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if ln, err := net.Listen("tcp4", "0.0.0.0:8000"); err != nil {
		t.Errorf("the port is not free after Leave and Close: %v", err)
	} else {
		ln.Close()
	}
}

// TestSplicePorts: in this mode nothing is translated, so the host's INPUT
// chain sees every connection (SECURITY.md N7).
func TestSplicePorts(t *testing.T) {
	l := newLab(t)
	cfg := l.config()
	cfg.SplicePorts = true
	sb := l.container(l.service(cfg), tcp(8080, 80))
	for _, sock := range sb.Sockets {
		if !sock.Splice {
			t.Errorf("%s:%d is not spliced", sock.HostIP, sock.HostPort)
		}
	}
	if rules := l.run("nft", "list", "table", "inet", "sampan0"); strings.Contains(rules, "tcp . ") {
		t.Errorf("a port is translated:\n%s", rules)
	}
}

// TestNoRules: with --iptables=false the kernel has no rule of ours, what an earlier
// daemon left is taken away, and TCP ports still work, by relay.
func TestNoRules(t *testing.T) {
	l := newLab(t)
	cfg := l.config()
	cfg.NoRules = true
	l.run("nft", "add", "table", "inet", "sampan0")
	s := l.service(cfg)
	if _, err := s.Create(t.Context(), mobynet.CreateRequest{Name: "more"}); err != nil {
		t.Fatal(err)
	}
	sb := l.container(s, tcp(8080, 80))
	for _, sock := range sb.Sockets {
		if !sock.Splice {
			t.Errorf("%s:%d is not relayed", sock.HostIP, sock.HostPort)
		}
	}
	if tables := l.run("nft", "list", "tables"); strings.Contains(tables, "sampan") {
		t.Errorf("there are tables of ours: %s", tables)
	}
	if _, err := s.Join(t.Context(), JoinRequest{ContainerID: strings.Repeat("9", 64), Name: "u", Ports: []PortRequest{{Proto: "udp", HostPortFirst: 53, ContainerPort: 53}}}); err == nil || !strings.Contains(err.Error(), "only TCP can be relayed") {
		t.Errorf("publish UDP: %v, want a refusal by name", err)
	}
}

// TestManyJoins: 1,000 containers come and go, up to 20 at a time; no two living
// ones share an address, and an address just released is not used next.
func TestManyJoins(t *testing.T) {
	const total, workers = 1000, 20
	l := newLab(t)
	s := l.service(l.config())
	var mu sync.Mutex
	living := map[netip.Addr]string{}
	seen := map[netip.Addr]bool{}
	work := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range work {
				id := fmt.Sprintf("%064x", i)
				sb, err := s.Join(context.Background(), JoinRequest{ContainerID: id, Name: fmt.Sprint("c", i), Ports: []PortRequest{{Proto: "tcp", ContainerPort: 80}}})
				if err != nil {
					t.Errorf("join %d: %v", i, err)
					continue
				}
				ip := sb.Joined.Endpoints[0].IP.Addr()
				mu.Lock()
				if other, taken := living[ip]; taken {
					t.Errorf("%s is given to %s and %s", ip, other, id)
				}
				if seen[ip] {
					t.Errorf("%s is given out again while others were never used", ip)
				}
				living[ip], seen[ip] = id, true
				mu.Unlock()
				if got := l.in(sb.NetNS, "ip", "-4", "-o", "addr", "show", "eth0"); i%100 == 0 && !strings.Contains(got, sb.Joined.Endpoints[0].IP.String()) {
					t.Errorf("eth0 has %q, want %s", got, sb.Joined.Endpoints[0].IP)
				}
				sb.Close()
				mu.Lock()
				delete(living, ip)
				mu.Unlock()
				for range 2 {
					if err := s.Leave(context.Background(), id); err != nil {
						t.Errorf("leave %d: %v", i, err)
					}
				}
			}
		})
	}
	for i := range total {
		work <- i
	}
	close(work)
	wg.Wait()
	if rules := l.run("nft", "list", "table", "inet", "sampan0"); strings.Contains(rules, "tcp . ") {
		t.Errorf("ports left in the rules:\n%s", rules)
	}
	if n := len(s.sandboxes); n != 0 {
		t.Errorf("%d endpoints left", n)
	}
}

// TestRestart: the daemon dies without a word; the next one adopts what is there
// and an open connection does not notice.
func TestRestart(t *testing.T) {
	l := newLab(t)
	outside := l.machine()
	dir := t.TempDir()
	l.openStore(filepath.Join(dir, "a.db"))
	first, err := New(t.Context(), l.config(), l.store)
	if err != nil {
		t.Fatal(err)
	}
	web := l.container(first, tcp(8080, 80))
	gone := l.container(first, tcp(8090, 80))
	var ln net.Listener
	if err := netns.Do(web.NetNS, func() (err error) { ln, err = net.Listen("tcp4", ":80"); return err }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	var flow net.Conn
	if err := netns.Do(outside, func() (err error) { flow, err = net.DialTimeout("tcp4", "192.0.2.1:8080", patience); return err }); err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	echo := func(when string) {
		t.Helper()
		flow.SetDeadline(time.Now().Add(patience))
		buf := make([]byte, 4)
		if _, err := flow.Write([]byte("ping")); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := io.ReadFull(flow, buf); err != nil || !bytes.Equal(buf, []byte("ping")) {
			t.Fatalf("%s: %q %v", when, buf, err)
		}
	}
	echo("first daemon")
	rules := l.run("nft", "list", "table", "inet", "sampan0")

	// As kill -9 does: sockets close, nothing is said.
	if err := first.networks[DefaultNetwork].driver.Close(); err != nil {
		t.Fatal(err)
	}
	first.fw.Close()
	l.store.Close()
	gone.Close()
	echo("no daemon")

	l.openStore(filepath.Join(dir, "a.db"))
	second := l.service(l.config())
	echo("second daemon")
	if got := l.run("nft", "list", "table", "inet", "sampan0"); strings.ReplaceAll(got, "udp", "") != strings.ReplaceAll(rules, "udp", "") {
		t.Errorf("the rules changed:\n%s\nwas\n%s", got, rules)
	}
	if err := second.Restore(t.Context(), []string{strings.Repeat("0", 63) + "1"}); err != nil {
		t.Fatal(err)
	}
	echo("after Restore")
	if got := l.run("nft", "list", "table", "inet", "sampan0"); strings.Contains(got, "8090") || !strings.Contains(got, "8080") {
		t.Errorf("after Restore the port of the living must be there and that of the dead not:\n%s", got)
	}
	if next := l.container(second); next.Joined.Endpoints[0].IP.Addr() != netip.MustParseAddr("172.17.0.4") {
		t.Errorf("next address = %s, want 172.17.0.4: neither a living container's nor one just released", next.Joined.Endpoints[0].IP)
	}
	if _, err := second.Join(t.Context(), JoinRequest{ContainerID: "x", Ports: []PortRequest{tcp(8080, 80)}}); err == nil || !strings.Contains(err.Error(), "allocated to container c1") {
		t.Errorf("Join with a port that an adopted container holds: %v", err)
	}
	again, err := second.Joined(strings.Repeat("0", 63) + "1")
	if err != nil || again.Endpoints[0].IP != web.Joined.Endpoints[0].IP || again.Endpoints[0].EndpointID != web.Joined.Endpoints[0].EndpointID {
		t.Errorf("endpoint after restart = %+v, %v; want %+v", again, err, web.Joined)
	}
}

// TestSideBySide: two daemons with their own bridges; one network does not reach
// the other except by published ports, and one daemon's end is not the other's.
func TestSideBySide(t *testing.T) {
	l := newLab(t)
	a := l.service(l.config())
	l.openStore(filepath.Join(t.TempDir(), "b.db"))
	cfg := l.config()
	cfg.Bridge = "sampan1"
	b, err := New(t.Context(), cfg, l.store)
	if err != nil {
		t.Fatal(err)
	}
	onA, onB := l.container(a, tcp(8080, 80)), l.container(b)
	l.serve(onA.NetNS, "tcp4", ":80")
	l.serve(onB.NetNS, "tcp4", ":80")
	if onB.Joined.Endpoints[0].IP != netip.MustParsePrefix("172.18.0.2/16") {
		t.Errorf("second network's first address = %s, want 172.18.0.2/16: the first pool is taken", onB.Joined.Endpoints[0].IP)
	}
	l.blocked("network B to A", onB.NetNS, "tcp4", at(onA, 80))
	l.blocked("network A to B", onA.NetNS, "tcp4", at(onB, 80))
	l.reaches("network B to a published port of A", onB.NetNS, "tcp4", "172.18.0.1:8080")

	// A third daemon on the same bridge must not take the table away.
	l.openStore(filepath.Join(t.TempDir(), "c.db"))
	if _, err := New(t.Context(), cfg, l.store); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second daemon on the bridge sampan1: %v, want a conflict", err)
	}
	l.reaches("container of B after the attempt", nil, "tcp4", at(onB, 80))
	onB.Close()
	for id := range b.sandboxes {
		if err := b.Leave(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	l.reaches("A after the end of B", nil, "tcp4", "127.0.0.1:8080")
	if out := l.run("ip", "-o", "link"); strings.Contains(out, "sampan1") {
		t.Errorf("bridge left after Close:\n%s", out)
	}
}

func TestAddressChoice(t *testing.T) {
	cases := []struct {
		name   string
		before [][]string
		change func(*Config)
		want   string // of the first container, or part of the error
		class  error
	}{
		{name: "default", want: "172.17.0.2/16"},
		{name: "--bip", change: func(c *Config) { c.BIP = "10.9.0.1/24" }, want: "10.9.0.2/24"},
		{name: "--bip in the middle", change: func(c *Config) { c.BIP = "10.9.0.2/29" }, want: "10.9.0.1/29"},
		{name: "--bip and --fixed-cidr", change: func(c *Config) { c.BIP, c.FixedCIDR = "10.9.0.1/16", "10.9.8.0/24" }, want: "10.9.8.0/16"},
		{name: "address in use", before: [][]string{{"ip", "link", "add", "dd", "type", "bridge"}, {"ip", "addr", "add", "172.17.5.5/24", "dev", "dd"}}, want: "172.18.0.2/16"},
		{name: "route in use", before: [][]string{{"ip", "link", "add", "dd", "type", "bridge"}, {"ip", "link", "set", "dd", "up"}, {"ip", "route", "add", "172.16.0.0/12", "dev", "dd"}}, want: "192.168.0.2/20"},
		{name: "a default route is no obstacle", before: [][]string{{"ip", "link", "add", "dd", "type", "bridge"}, {"ip", "link", "set", "dd", "up"}, {"ip", "route", "add", "default", "dev", "dd"}}, want: "172.17.0.2/16"},
		{name: "own pools", change: func(c *Config) {
			c.DefaultPools = []ipam.Range{{Base: netip.MustParsePrefix("10.200.0.0/16"), Size: 24}}
		}, want: "10.200.0.2/24"},
		{name: "bridge of the user's", before: [][]string{{"ip", "link", "add", "br9", "type", "bridge"}, {"ip", "addr", "add", "10.8.0.1/24", "dev", "br9"}}, change: func(c *Config) { c.Bridge = "br9" }, want: "10.8.0.2/24"},
		{name: "--default-gateway", change: func(c *Config) { c.DefaultGateway = netip.MustParseAddr("172.17.0.2"); c.BIP = "172.17.0.1/16" }, want: "172.17.0.3/16"},
		{name: "bad --bip", change: func(c *Config) { c.BIP = "10.9.0.0/24" }, want: "not an address with its prefix", class: fault.Invalid},
		{name: "--bip in use", before: [][]string{{"ip", "link", "add", "dd", "type", "bridge"}, {"ip", "addr", "add", "10.9.0.9/24", "dev", "dd"}}, change: func(c *Config) { c.BIP = "10.9.0.1/16" }, want: "overlaps 10.9.0.0/24", class: fault.Conflict},
		{name: "no bridge", before: [][]string{{"ip", "link", "add", "sampan0", "type", "veth", "peer", "name", "peer0"}}, want: "is no bridge", class: fault.Conflict},
		{name: "bad name", change: func(c *Config) { c.Bridge = "a/b" }, want: "cannot be the name of a bridge", class: fault.Invalid},
		{name: "--ipv6", change: func(c *Config) { c.IPv6 = true }, want: "172.17.0.2/16"},
		{name: "bad --fixed-cidr-v6", change: func(c *Config) { c.IPv6, c.FixedCIDR6 = true, "10.0.0.0/8" }, want: "is not an IPv6 network", class: fault.Invalid},
		{name: "--bridge none", change: func(c *Config) { c.Bridge = NoBridge }, want: "--bridge none", class: fault.Unavailable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			for _, cmd := range c.before {
				l.run(cmd[0], cmd[1:]...)
				if len(cmd) > 3 && cmd[2] == "add" && cmd[1] == "link" {
					t.Cleanup(func() { l.run("ip", "link", "del", cmd[3]) })
				}
			}
			cfg := l.config()
			if c.change != nil {
				c.change(&cfg)
			}
			s, err := New(t.Context(), cfg, l.store)
			var got string
			if err == nil {
				defer s.Close()
				var sb *Sandbox
				if sb, err = s.Join(t.Context(), JoinRequest{ContainerID: "1", Name: "one"}); err == nil {
					got = sb.Joined.Endpoints[0].IP.String()
					if route := l.in(sb.NetNS, "ip", "route"); !strings.Contains(route, "default via "+sb.Joined.Endpoints[0].Gateway.String()+" dev eth0") {
						t.Errorf("routes of the container:\n%s", route)
					}
					sb.Close()
					if err := s.Leave(t.Context(), "1"); err != nil {
						t.Error(err)
					}
				}
			}
			switch {
			case c.class == nil && (err != nil || got != c.want):
				t.Errorf("address = %q, %v; want %s", got, err, c.want)
			case c.class != nil && (!errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error = %v, want class %v and %q", err, c.class, c.want)
			}
		})
	}
}

// TestAddressStays: the network chosen once stays, though a better one is free.
func TestAddressStays(t *testing.T) {
	l := newLab(t)
	l.run("ip", "link", "add", "dd", "type", "bridge")
	l.run("ip", "addr", "add", "172.17.0.9/16", "dev", "dd")
	for range 2 {
		s, err := New(t.Context(), l.config(), l.store)
		if err != nil {
			t.Fatal(err)
		}
		sb := l.container(s)
		if got := sb.Joined.Endpoints[0].IP.Masked().String(); got != "172.18.0.0/16" {
			t.Errorf("network = %s, want 172.18.0.0/16", got)
		}
		for id := range s.sandboxes {
			if err := s.Leave(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		sb.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if out := l.run("ip", "-o", "link"); strings.Contains(out, "dd:") {
			l.run("ip", "link", "del", "dd")
		}
	}
}

// TestAddressBesideOwnNetworks: after a boot somebody else has the default network's addresses;
// the next ones are not those of a user's network, whose bridge is not there yet.
func TestAddressBesideOwnNetworks(t *testing.T) {
	l := newLab(t)
	s, err := New(t.Context(), l.config(), l.store)
	if err != nil {
		t.Fatal(err)
	}
	l.network(s, "mine", func(r *mobynet.CreateRequest) {
		r.IPAM = &mobynet.IPAM{Config: []mobynet.IPAMConfig{{Subnet: netip.MustParsePrefix("172.18.0.0/16")}}}
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l.run("ip", "link", "add", "dd", "type", "bridge")
	defer l.run("ip", "link", "del", "dd")
	l.run("ip", "addr", "add", "172.17.0.1/16", "dev", "dd")
	s = l.service(l.config())
	if got := l.container(s).Joined.Endpoints[0].IP.Masked().String(); got != "172.19.0.0/16" {
		t.Errorf("the default network is %s, want 172.19.0.0/16", got)
	}
	if got := l.join(s, "other", nil, EndpointRequest{Network: "mine"}).Joined.Endpoints[0].IP.Masked().String(); got != "172.18.0.0/16" {
		t.Errorf("the user's network is %s, want 172.18.0.0/16", got)
	}
}

// TestSandbox looks at the container's side.
func TestSandbox(t *testing.T) {
	l := newLab(t)
	cfg := l.config()
	cfg.MTU = 1400
	s := l.service(cfg)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	sb, err := s.Join(t.Context(), JoinRequest{ContainerID: "1", Name: "one", Endpoints: []EndpointRequest{{MAC: mac}}})
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	out := l.in(sb.NetNS, "ip", "addr")
	for _, want := range []string{"lo: <LOOPBACK,UP,LOWER_UP>", "inet6 ::1/128", "mtu 1400", "02:00:00:00:00:09", "inet 172.17.0.2/16 brd 172.17.255.255 scope global eth0"} {
		if !strings.Contains(out, want) {
			t.Errorf("ip addr in the container lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "fe80") {
		t.Errorf("IPv6 is on in the container:\n%s", out)
	}
	isolated, err := s.Isolated(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer isolated.Close()
	if out := l.in(isolated, "ip", "-o", "link"); strings.Count(out, "\n") != 1 || !strings.Contains(out, "lo: <LOOPBACK,UP,LOWER_UP>") {
		t.Errorf("links of --network none:\n%s", out)
	}
	// Router advertisements of a container change nothing (SECURITY.md N3): the
	// host's ends have no IPv6 at all.
	if out := l.run("ip", "-6", "-o", "addr"); strings.Contains(out, "sampan0") || strings.Contains(out, "veth") {
		t.Errorf("IPv6 on the host's side:\n%s", out)
	}
	for file, want := range map[string]string{"accept_ra": "0\n", "disable_ipv6": "1\n"} {
		if got, err := os.ReadFile("/proc/sys/net/ipv6/conf/sampan0/" + file); err != nil || string(got) != want {
			t.Errorf("%s of the bridge = %q, %v", file, got, err)
		}
	}
	for _, bad := range []JoinRequest{
		{ContainerID: "2", Endpoints: []EndpointRequest{{Network: "mynet"}}},
		{ContainerID: "2", Endpoints: []EndpointRequest{{Network: "host"}}},
		{ContainerID: "2", Endpoints: []EndpointRequest{{IP: netip.MustParseAddr("172.17.0.9")}}},
		{ContainerID: "2", Endpoints: []EndpointRequest{{MAC: net.HardwareAddr{1, 0, 0, 0, 0, 0}}}},
		{},
	} {
		if _, err := s.Join(t.Context(), bad); fault.Of(err) == nil {
			t.Errorf("Join(%+v) = %v, want a classed error", bad, err)
		}
	}
	if n, err := s.Inspect("bridge"); err != nil || len(s.Networks()) != 3 || n.Containers["1"].IPv4Address != sb.Joined.Endpoints[0].IP {
		t.Errorf("networks = %+v, %v", n, err)
	}
	if _, err := s.Inspect(sb.Joined.Endpoints[0].NetworkID[:12]); err != nil {
		t.Errorf("inspect by ID prefix: %v", err)
	}
	if _, err := s.Inspect("nope"); !errors.Is(err, fault.NotFound) {
		t.Errorf("inspect of an unknown network: %v", err)
	}
}

// TestExhaustion: what runs out is named, and what runs goes on (faults 25-27).
func TestExhaustion(t *testing.T) {
	l := newLab(t)
	cfg := l.config()
	cfg.BIP = "10.9.0.1/30"
	s := l.service(cfg)
	first := l.container(s, tcp(8080, 80))
	l.serve(first.NetNS, "tcp4", ":80")
	_, err := s.Join(t.Context(), JoinRequest{ContainerID: "x", Name: "x"})
	if !errors.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "no address is left in 10.9.0.0/30") {
		t.Errorf("no address: %v", err)
	}
	if err := s.Leave(t.Context(), strings.Repeat("0", 63)+"1"); err != nil {
		t.Fatal(err)
	}
	first.Close()

	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for spare := range uint64(8) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)) - 1 + spare, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		var sb *Sandbox
		sb, err = s.Join(t.Context(), JoinRequest{ContainerID: "y", Name: "y", Ports: []PortRequest{tcp(8080, 80), tcp(8081, 80)}})
		if setErr := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); setErr != nil {
			t.Fatal(setErr)
		}
		if err == nil {
			sb.Close()
			break
		}
		if !errors.Is(err, fault.Exhausted) || !errors.Is(err, unix.EMFILE) {
			t.Errorf("%d descriptors to spare: %v, want exhausted", spare, err)
		}
		if n := len(s.sandboxes); n != 0 {
			t.Errorf("%d descriptors to spare: an endpoint is left", spare)
		}
	}
	if err := s.Leave(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	l.container(s, tcp(8081, 80)) // it heals
}

// TestBridgeRemoved: somebody deletes the bridge; the next container gets one.
func TestBridgeRemoved(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	l.run("ip", "link", "del", "sampan0")
	sb := l.container(s, tcp(8080, 80))
	l.serve(sb.NetNS, "tcp4", ":80")
	l.reaches("a container after the bridge was deleted", nil, "tcp4", "127.0.0.1:8080")
}

// TestNoICC: --icc=false cuts containers off from each other, not from what is
// published.
func TestNoICC(t *testing.T) {
	for _, brNetfilter := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+brNetfilter, func(t *testing.T) {
			l := newLab(t)
			if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte(brNetfilter), 0o644); err != nil && brNetfilter == "1" {
				t.Skipf("the kernel has no br_netfilter: %v", err)
			}
			cfg := l.config()
			cfg.ICC = false
			s := l.service(cfg)
			web, other := l.container(s, tcp(8080, 80)), l.container(s)
			l.serve(web.NetNS, "tcp4", ":80")
			l.blocked("container to container", other.NetNS, "tcp4", at(web, 80))
			l.in(other.NetNS, "ip", "route", "add", web.Joined.Endpoints[0].IP.Addr().String(), "via", "172.17.0.1")
			l.blocked("container to container over the host", other.NetNS, "tcp4", at(web, 80))
			l.reaches("host to published port", nil, "tcp4", "127.0.0.1:8080")
			if brNetfilter == "0" { // see Config.ICC
				l.reaches("container to published port", other.NetNS, "tcp4", "172.17.0.1:8080")
			}
		})
	}
}

// TestFirewallFailure: when the rules cannot be changed, a Join fails whole, and
// one that needs no rule still works (fault 25).
func TestFirewallFailure(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	// Their number: a bridge's state in the list changes with its first port.
	links := func() int { return strings.Count(l.run("ip", "-o", "link"), "\n") }
	before := links()
	n := s.networks[DefaultNetwork]
	n.driver = brokenRules{n.driver}
	_, err := s.Join(t.Context(), JoinRequest{ContainerID: "1", Name: "one", Ports: []PortRequest{tcp(8080, 80)}})
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "firewall of sampan0") {
		t.Errorf("Join = %v, want the firewall named", err)
	}
	eventually(t, "the link of a failed Join is gone", func() bool { return links() == before })
	if n := len(s.sandboxes); n != 0 {
		t.Errorf("%d endpoints left", n)
	}
	if ln, err := net.Listen("tcp4", "0.0.0.0:8080"); err != nil {
		t.Errorf("the port of a failed Join is taken: %v", err)
	} else {
		ln.Close()
	}
	l.container(s)
}

// brokenRules is a driver whose rules cannot be changed.
type brokenRules struct{ driver.Driver }

func (brokenRules) Publish(_ context.Context, ep driver.Endpoint) error {
	if len(ep.Ports) == 0 {
		return nil
	}
	return fault.New(fault.Unavailable, "set up the firewall of sampan0: no")
}

// TestFlushBetweenDaemons: without a daemon nobody owns the table; the next
// daemon makes it again.
func TestFlushBetweenDaemons(t *testing.T) {
	l := newLab(t)
	outside := l.machine()
	first, err := New(t.Context(), l.config(), l.store)
	if err != nil {
		t.Fatal(err)
	}
	web := l.container(first, tcp(8080, 80))
	l.serve(web.NetNS, "tcp4", ":80")
	l.in(outside, "ip", "route", "add", "172.17.0.0/16", "via", "192.0.2.1")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	l.reaches("published port without a daemon", outside, "tcp4", "192.0.2.1:8080")
	l.blocked("unpublished address without a daemon", outside, "tcp4", at(web, 80))
	if _, err := first.Join(t.Context(), JoinRequest{ContainerID: "9"}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Join after Close = %v", err)
	}
	l.run("nft", "flush", "ruleset")
	second := l.service(l.config())
	if err := second.Restore(t.Context(), []string{strings.Repeat("0", 63) + "1"}); err != nil {
		t.Fatal(err)
	}
	l.reaches("published port after a flush and a restart", outside, "tcp4", "192.0.2.1:8080")
	l.blocked("unpublished address after a flush and a restart", outside, "tcp4", at(web, 80))
}

func TestJoinTwice(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	for range 2 {
		sb, err := s.Join(t.Context(), JoinRequest{ContainerID: "1", Name: "one", Ports: []PortRequest{tcp(8080, 80)}})
		if err != nil {
			t.Fatal(err)
		}
		sb.Close()
	}
	if n := len(s.sandboxes); n != 1 {
		t.Errorf("endpoints = %d, want 1", n)
	}
}

func TestDamagedRecordIsNamed(t *testing.T) {
	l := newLab(t)
	if err := l.store.Update(func(tx *state.Tx) error { return tx.PutRaw(endpointsBucket, "abc", []byte("{")) }); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), l.config(), l.store); err == nil || !strings.Contains(err.Error(), "abc") {
		t.Errorf("New = %v, want the damaged record named", err)
	}
}

// BenchmarkJoin is what a start waits for: on the default bridge with and without a
// port, and on a network of the user's, where the container gets a resolver.
func BenchmarkJoin(b *testing.B) {
	for _, c := range []struct {
		name, network string
		ports         int
	}{{"bridge", DefaultNetwork, 0}, {"port", DefaultNetwork, 1}, {"ports=100", DefaultNetwork, 100}, {"user", "mine", 0}} {
		b.Run(c.name, func(b *testing.B) {
			store, err := state.Open(filepath.Join(b.TempDir(), "state.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			s, err := New(b.Context(), DefaultConfig(), store)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if c.network != DefaultNetwork {
				if _, err := s.Create(b.Context(), mobynet.CreateRequest{Name: c.network}); err != nil {
					b.Fatal(err)
				}
			}
			var reqs []PortRequest
			for range c.ports {
				reqs = append(reqs, PortRequest{Proto: "tcp", ContainerPort: 80})
			}
			for b.Loop() {
				sb, err := s.Join(b.Context(), JoinRequest{ContainerID: "1", Name: "one", Ports: reqs, Endpoints: []EndpointRequest{{Network: c.network}}})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				sb.Close()
				if err := s.Leave(b.Context(), "1"); err != nil {
					b.Fatal(err)
				}
				time.Sleep(20 * time.Millisecond) // a namespace is ready again, as it is for a single start
				b.StartTimer()
			}
		})
	}
}
