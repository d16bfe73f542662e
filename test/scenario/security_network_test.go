package scenario

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/lab"
)

// advertised is the network that the forged router advertisements announce.
const advertised = "2001:db8:666::"

// routerAdvertisement is a whole frame to all nodes of the link: a default router, and a
// network to take an address from (RFC 4861, 4.2 and 4.6.2).
func routerAdvertisement(mac net.HardwareAddr) []byte {
	const (
		advertisement, prefixInformation = 134, 3
		onLinkAndAutonomous              = 0xc0
		hopLimit                         = 255
	)
	from, to := netip.MustParseAddr("fe80::666").As16(), netip.MustParseAddr("ff02::1").As16()
	icmp := []byte{advertisement, 0, 0, 0, 64, 0}
	icmp = binary.BigEndian.AppendUint16(icmp, 1800)
	icmp = append(icmp, make([]byte, 8)...)
	icmp = append(icmp, prefixInformation, 4, 64, onLinkAndAutonomous)
	icmp = binary.BigEndian.AppendUint32(icmp, 86400)
	icmp = binary.BigEndian.AppendUint32(icmp, 14400)
	icmp = append(icmp, 0, 0, 0, 0)
	network := netip.MustParseAddr(advertised).As16()
	icmp = append(icmp, network[:]...)

	pseudo := slices.Concat(from[:], to[:], []byte{0, 0, 0, byte(len(icmp)), 0, 0, 0, unix.IPPROTO_ICMPV6}, icmp)
	var sum uint32
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(icmp[2:], ^uint16(sum))

	frame := slices.Concat(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(icmp)), unix.IPPROTO_ICMPV6, hopLimit})
	return slices.Concat(frame, from[:], to[:], icmp)
}

// advertise sends the advertisement out of eth0 of a place.
func advertise(t *testing.T, from lab.Place) {
	t.Helper()
	err := from.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, routerAdvertisement(link.HardwareAddr), 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// believed tells what a place has taken from an advertisement.
func believed(t *testing.T, p lab.Place) string {
	t.Helper()
	var got []string
	for _, args := range [][]string{{"-6", "-o", "addr"}, {"-6", "route", "show", "table", "all"}} {
		for line := range strings.Lines(p.Run(t, append([]string{"ip"}, args...)...).Must(t) + "\n") {
			if strings.Contains(line, strings.TrimSuffix(advertised, ":")) || strings.Contains(line, "fe80::666") || strings.Contains(line, "proto ra") {
				got = append(got, strings.TrimSpace(line))
			}
		}
	}
	return strings.Join(got, "\n")
}

// TestRouterAdvertisements is N3 (CVE-2020-13401): what a container announces as a router
// changes nothing on the host and on its neighbours, in networks with IPv6 and without.
func TestRouterAdvertisements(t *testing.T) {
	d := start(t)
	d.Sampan("network", "create", "--ipv6", "--subnet", "fd00:94::/64", "-o", "com.docker.network.bridge.name=br-six", "six").Must(t)
	d.Sampan("network", "create", "-o", "com.docker.network.bridge.name=br-four", "four").Must(t)
	here := lab.Here(t)
	places := map[string]lab.Place{"the host": here}
	var evil []lab.Place
	for _, network := range []string{"six", "four", "bridge"} {
		for _, name := range []string{"evil-" + network, "peer-" + network} {
			d.Sampan("run", "-d", "--name", name, "--stop-timeout", "0", "--network", network, busybox, "sleep", "1000").Must(t)
			places[name] = d.Inside(name)
		}
		evil = append(evil, places["evil-"+network])
	}
	// attack sends until somebody believes it, for a moment.
	attack := func() map[string]string {
		got := map[string]string{}
		for range 5 {
			for _, e := range evil {
				advertise(t, e)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for name, p := range places {
			if b := believed(t, p); b != "" {
				got[name] = b
			}
		}
		return got
	}
	for _, m := range moments(t, d) {
		m.reach()
		for name, what := range attack() {
			t.Errorf("%s: %s believes\n%s", m.name, name, what)
		}
	}
	// With the settings of an ordinary host each of them believes it.
	listen := func(p lab.Place, link string) {
		err := p.Do(func() error {
			for _, s := range [][2]string{{"accept_ra", "2"}, {"disable_ipv6", "0"}} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+link+"/"+s[0], []byte(s[1]), 0); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"br-six", "br-four", "sampan0"} {
		listen(here, link)
	}
	for _, name := range []string{"peer-six", "peer-four", "peer-bridge"} {
		listen(places[name], "eth0")
	}
	want := []string{"the host", "peer-six", "peer-four", "peer-bridge"}
	var got map[string]string
	lab.Eventually(t, 20*time.Second, "hosts that listen believe the advertisements", func() bool {
		got = attack()
		return !slices.ContainsFunc(want, func(name string) bool { return got[name] == "" }) &&
			strings.Contains(got["the host"], "br-six") && strings.Contains(got["the host"], "br-four") && strings.Contains(got["the host"], "sampan0")
	})
	// The next daemon makes the host's links deaf again, and takes what they believed away.
	d.Kill()
	d.Restart()
	if addrs := lab.Run(t, nil, "ip", "-6", "-o", "addr").Must(t); strings.Contains(addrs, strings.TrimSuffix(advertised, ":")) {
		t.Errorf("addresses after the next start:\n%s", addrs)
	} else if six := lab.Run(t, nil, "ip", "-6", "-o", "addr", "show", "dev", "br-six").Must(t); !strings.Contains(six, "fd00:94::1/64") || !strings.Contains(six, "fe80::") {
		t.Errorf("addresses of a network with IPv6 after the next start:\n%s", six)
	}
	for _, route := range [][]string{{"proto", "ra"}, {advertised + "/64"}} { // they would run out by themselves
		lab.Run(t, nil, append([]string{"ip", "-6", "route", "flush"}, route...)...).Must(t)
	}
	if what := attack()["the host"]; what != "" {
		t.Errorf("after the next start the host believes\n%s", what)
	}
}

// TestInternalNetworksLeakNoQuery is N5 (CVE-2024-29018): what a container asks that is in
// internal networks alone never leaves the host.
func TestInternalNetworksLeakNoQuery(t *testing.T) {
	asked := hostResolver(t)
	d := start(t)
	outside := resolverAt(t, "127.0.0.77")
	d.Sampan("network", "create", "--internal", "inside").Must(t)
	d.Sampan("network", "create", "--internal", "second").Must(t)
	d.Sampan("network", "create", "out").Must(t)
	run := func(name string, flags ...string) {
		d.Sampan(append(append([]string{"run", "-d", "--name", name, "--stop-timeout", "0"}, flags...), busybox, "sleep", "1000")...).Must(t)
	}
	run("insider", "--network", "inside", "--network", "second")
	run("picky", "--network", "inside", "--dns", "127.0.0.77") // of the host, which it must not reach
	run("free", "--network", "out")
	leaked := func(name string) bool {
		return slices.ContainsFunc(append(asked(), outside()...), func(q string) bool { return strings.Contains(q, name) })
	}
	for i, m := range moments(t, d) {
		m.reach()
		if m.name == "while no daemon runs" {
			continue // nobody is asked: see TestNamesWhileTheDaemonIsKilled
		}
		for _, from := range []string{"insider", "picky"} {
			secret := fmt.Sprintf("secret%d-%s.example", i, from)
			if r := lookup(d, from, secret); r.Code == 0 {
				t.Errorf("%s: %s is answered: %s", m.name, from, r.Out)
			}
			if leaked(secret) {
				t.Errorf("%s: the query of %s has left", m.name, from)
			}
		}
		if r := lookup(d, "insider", "picky"); r.Code != 0 {
			t.Errorf("%s: a name inside is not answered: %s", m.name, r.Err)
		}
		if name := fmt.Sprintf("public%d.example", i); lookup(d, "free", name).Code != 0 || !leaked(name) {
			t.Errorf("%s: a query of a network with a way out was not seen", m.name)
		}
	}
	// A way out lets the query out, and without it there is none again.
	d.Sampan("network", "connect", "out", "insider").Must(t)
	if lookup(d, "insider", "with.example").Code != 0 || !leaked("with.example") {
		t.Error("a query of a container that got a way out was not seen")
	}
	d.Sampan("network", "disconnect", "out", "insider").Must(t)
	if lookup(d, "insider", "without.example").Code == 0 || leaked("without.example") {
		t.Error("a query of a container that lost its way out has left")
	}
}

// TestRulesOfTheUserHold is N7: what the admin drops stays dropped, in the chain that is
// made for it and in his own, whatever Sampan lets through; and with "firewall": "host"
// his rules for INPUT decide about published ports.
func TestRulesOfTheUserHold(t *testing.T) {
	for _, mode := range []string{"nat", "host"} {
		t.Run(mode, func(t *testing.T) {
			d := start(t, "--firewall", mode)
			far := lab.Machine(t, "192.0.2.1/24", "192.0.2.2/24").Place(t)
			publish := func(what string, port int) attempt {
				name := fmt.Sprint("c", port)
				d.Sampan("run", "-d", "--name", name, "--stop-timeout", "0", "-p", fmt.Sprintf("%d:%d", port, attackedPort), busybox, "sleep", "1000").Must(t)
				d.Inside(name).Serve(t, attackedPort)
				return attempt{what, far, "tcp", netip.MustParseAddrPort(fmt.Sprintf("192.0.2.1:%d", port))}
			}
			chain, own, input, open := publish("dropped in sampan-user", 18910), publish("dropped in a chain of the admin's", 18911),
				publish("dropped in INPUT", 18912), publish("not dropped", 18913)
			address := func(a attempt) string {
				return d.Sampan("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", fmt.Sprint("c", a.to.Port())).Must(t)
			}
			rules := fmt.Sprintf(`
table inet sampan-user {
	chain forward { ip daddr %s drop; }
}
table inet admin {
	chain input { type filter hook input priority filter; policy accept; tcp dport 18912 drop; }
	chain forward { type filter hook forward priority 100; policy accept; ip daddr %s drop; }
}
`, address(chain), address(own))
			apply := func() { lab.Run(t, []byte(rules), "nft", "-f", "-").Must(t) }
			t.Cleanup(func() {
				lab.Run(t, nil, "nft", "flush", "chain", "inet", "sampan-user", "forward").Must(t)
			})
			all := []attempt{chain, own, input, open}
			dropped, let := []attempt{chain, own}, []attempt{input, open}
			if mode == "host" { // nothing is forwarded from the machine: its INPUT is asked alone
				dropped, let = []attempt{input}, []attempt{chain, own, open}
			}
			succeed(t, "before there is a rule", all)
			for _, m := range moments(t, d) {
				m.reach()
				if strings.Contains(m.name, "first") || strings.Contains(m.name, "flushed") || strings.Contains(m.name, "firewall") {
					// Who flushes takes his own rules as well, and makes them again; the chain
					// for them is there by then.
					lab.Eventually(t, 10*time.Second, "the chain for the admin's rules is there", func() bool {
						return lab.Run(t, nil, "nft", "list", "chain", "inet", "sampan-user", "forward").Code == 0
					})
					if strings.Contains(m.name, "firewall") {
						lab.Run(t, nil, "nft", "delete", "table", "inet", "admin").Must(t)
					}
					apply()
				}
				succeed(t, m.name, let)
				fail(t, m.name, dropped)
			}
			d.Stop()
			d.Restart()
			succeed(t, "after the daemon was stopped and started", let)
			fail(t, "after the daemon was stopped and started", dropped)
		})
	}
}
