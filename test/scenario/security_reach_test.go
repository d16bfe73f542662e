package scenario

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// The attacks on networks of SECURITY.md: N1 and N2 here, N3, N5 and N7 in
// security_network_test.go, H1 in security_host_test.go. Each is made at every one
// of the moments below, and seen to succeed where the defence is taken away.

// moment is a state of the host in which an attack must fail.
type moment struct {
	name  string
	reach func()
}

// firewallReload is what a reload of the host's own firewall does: away with all
// that is there, and its own rules.
const firewallReload = `flush ruleset
table inet admin {
	chain input { type filter hook input priority filter; policy accept; }
	chain forward { type filter hook forward priority filter; policy accept; }
}
`

func moments(t *testing.T, d *lab.Daemon) []moment {
	nft := func(script string) {
		t.Helper()
		lab.Run(t, []byte(script), "nft", "-f", "-").Must(t)
	}
	t.Cleanup(func() { nft("table inet admin\ndelete table inet admin\n") })
	return []moment{
		{"at first", func() {}},
		{"after somebody flushed the rules", func() { nft("flush ruleset") }},
		{"after a reload of the host's firewall", func() { nft(firewallReload) }},
		{"after a reload of the daemon", func() {
			reload(t, d, reloaded)
		}},
		{"while no daemon runs", d.Kill},
		{"after a restart of the daemon", func() { d.Restart() }},
	}
}

// attempt is a connection.
type attempt struct {
	what  string
	from  lab.Place
	proto string
	to    netip.AddrPort
}

func (a attempt) String() string { return a.what + " by " + a.proto + " at " + a.to.String() }

// both are the attempts by TCP and UDP.
func both(what string, from lab.Place, addr string, port int) []attempt {
	to := netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port))
	return []attempt{{what, from, "tcp", to}, {what, from, "udp", to}}
}

// succeed waits until every attempt is answered.
func succeed(t *testing.T, when string, list []attempt) {
	t.Helper()
	var wg sync.WaitGroup
	for _, a := range list {
		wg.Go(func() {
			for deadline := time.Now().Add(lab.Scale(10 * time.Second)); time.Now().Before(deadline); {
				if a.from.Asks(a.proto, a.to) {
					return
				}
			}
			t.Errorf("%s: %s is not answered", when, a)
		})
	}
	wg.Wait()
}

// fail makes every attempt once, and none may be answered.
func fail(t *testing.T, when string, list []attempt) {
	t.Helper()
	var wg sync.WaitGroup
	for _, a := range list {
		wg.Go(func() {
			if a.from.Asks(a.proto, a.to) {
				t.Errorf("%s: %s is answered", when, a)
			}
		})
	}
	wg.Wait()
}

const (
	attackedPort = 8099  // of every server
	onLoopback   = 18900 // published on 127.0.0.1 and [::1] alone
	onAll        = 18901 // published on every address
)

// TestPortsAndNetworksAreApart is N1 and N2: a port published on 127.0.0.1 and one
// that is not published are out of reach for another machine, whatever way it takes, and a
// network for the others. The machine knows the way to the containers' addresses, and a
// container of an internal network has given itself a default route.
func TestPortsAndNetworksAreApart(t *testing.T) {
	d := start(t)
	machine := lab.Machine(t, "192.0.2.1/24", "192.0.2.2/24")
	far, here := machine.Place(t), lab.Here(t)
	lab.Run(t, nil, "ip", "-6", "addr", "add", "2001:db8:9::1/64", "dev", "cable0", "nodad").Must(t)
	far.Run(t, "ip", "-6", "addr", "add", "2001:db8:9::2/64", "dev", "cable1", "nodad").Must(t)
	far.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8:9::1").Must(t)
	loopbackByCable(t, far)

	for _, args := range [][]string{
		{"--ipv6", "--subnet", "10.91.0.0/24", "--subnet", "fd00:91::/64", "front"},
		{"--ipv6", "--subnet", "10.92.0.0/24", "--subnet", "fd00:92::/64", "other"},
		{"--internal", "--subnet", "10.93.0.0/24", "inside"},
	} {
		d.Sampan(append([]string{"network", "create"}, args...)...).Must(t)
	}
	place := map[string]lab.Place{}
	for _, c := range [][]string{
		{"hidden", "--network", "front", "--ip", "10.91.0.10", "--ip6", "fd00:91::10"},
		{"local", "--network", "front", "--ip", "10.91.0.11", "--ip6", "fd00:91::11",
			"-p", fmt.Sprintf("127.0.0.1:%d:%d", onLoopback, attackedPort), "-p", fmt.Sprintf("127.0.0.1:%d:%d/udp", onLoopback, attackedPort),
			"-p", fmt.Sprintf("[::1]:%d:%d", onLoopback, attackedPort)},
		{"open", "--network", "front", "--ip", "10.91.0.12", "--ip6", "fd00:91::12",
			"-p", fmt.Sprintf("%d:%d", onAll, attackedPort), "-p", fmt.Sprintf("%d:%d/udp", onAll, attackedPort)},
		{"stranger", "--network", "other"}, {"plain"}, {"insider", "--network", "inside", "--ip", "10.93.0.10"},
	} {
		d.Sampan(append(append([]string{"run", "-d", "--stop-timeout", "0", "--name"}, c...), busybox, "sleep", "1000")...).Must(t)
		place[c[0]] = d.Inside(c[0])
		place[c[0]].Serve(t, attackedPort)
	}
	place["insider"].Run(t, "ip", "route", "add", "default", "via", "10.93.0.1").Must(t)

	var attacks, rights []attempt
	for _, target := range []string{"10.91.0.10", "fd00:91::10", "10.91.0.11", "fd00:91::11"} {
		attacks = append(attacks, both("the container itself from another machine", far, target, attackedPort)...)
		attacks = append(attacks, both("the container itself from another network", place["stranger"], target, attackedPort)...)
		rights = append(rights, both("the same network", place["open"], target, attackedPort)...)
		rights = append(rights, both("the host", here, target, attackedPort)...)
	}
	attacks = append(attacks, both("127.0.0.1 of the host from another machine", far, "127.0.0.1", onLoopback)...)
	attacks = append(attacks, both("from the default network", place["plain"], "10.91.0.10", attackedPort)...)
	attacks = append(attacks, both("from an internal network", place["insider"], "10.91.0.10", attackedPort)...)
	attacks = append(attacks, both("an internal network", place["hidden"], "10.93.0.10", attackedPort)...)
	attacks = append(attacks, both("an internal network from another machine", far, "10.93.0.10", attackedPort)...)
	// Nothing is there, whatever the rules are.
	nowhere := both("the host's address", far, "192.0.2.1", onLoopback)
	nowhere = append(nowhere, both("the host's address", far, "2001:db8:9::1", onLoopback)...)

	rights = append(rights, both("published on 127.0.0.1", here, "127.0.0.1", onLoopback)...)
	rights = append(rights, both("published, from another machine", far, "192.0.2.1", onAll)...)
	rights = append(rights, both("published, from another machine", far, "2001:db8:9::1", onAll)...)
	rights = append(rights, both("published, from another network", place["stranger"], "192.0.2.1", onAll)...)
	rights = append(rights, attempt{"published on [::1]", here, "tcp", netip.AddrPortFrom(netip.IPv6Loopback(), onLoopback)})

	for _, m := range moments(t, d) {
		m.reach()
		succeed(t, m.name, rights)
		fail(t, m.name, append(attacks, nowhere...))
	}
	// The table is nobody's while no daemon runs. Without its rules every attack succeeds, so
	// what fails above is what they keep away.
	d.Kill()
	for _, chain := range []string{"forward", "loopback"} {
		lab.Run(t, nil, "nft", "flush", "chain", "inet", "sampan0", chain).Must(t)
	}
	succeed(t, "without the rules", attacks)
	fail(t, "without the rules", nowhere)
	d.Restart()
	succeed(t, "after the next start", rights)
	fail(t, "after the next start", append(attacks, nowhere...))
}

// loopbackByCable makes a machine send what is for 127.0.0.0/8 to the host, and
// take the answers, as an attacker's own kernel would (CVE-2020-8558).
func loopbackByCable(t *testing.T, far lab.Place) {
	t.Helper()
	far.Run(t, "ip", "addr", "flush", "dev", "lo").Must(t)
	err := far.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/conf/cable1/route_localnet", []byte("1"), 0) })
	if err != nil {
		t.Fatal(err)
	}
	far.Run(t, "ip", "route", "add", "127.0.0.0/8", "via", "192.0.2.1").Must(t)
}
