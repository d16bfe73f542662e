package scenario

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// hears tells whether a server behind an address says hello. The servers here
// take one connection, and a moment until the next.
func hears(address string) bool {
	for range 40 {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err == nil && line == "hello\n" {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// Published ports change while the container runs; a connection through another
// port goes on, and what changed holds after a restart of daemon and container.
func TestPortsChangeWhileRunning(t *testing.T) {
	d := start(t)
	n := netLab{t, d}
	n.run("web", "-p", "18400:80", "-p", "18410:81")
	lab.Eventually(t, 10*time.Second, "the server answers", func() bool { return hears("127.0.0.1:18400") })
	d.Sampan("exec", "-d", "web", "nc", "-l", "-p", "81", "-e", "cat").Must(t)
	var flow net.Conn
	lab.Eventually(t, 10*time.Second, "an echo server answers", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:18410")
		if err == nil && echoes(c) == nil {
			flow = c
			return true
		}
		return false
	})
	defer flow.Close()

	d.Sampan("port", "add", "web", "127.0.0.1:18401:80", "18402-18403:82-83").Must(t)
	if got := d.Sampan("port", "web").Must(t); !strings.Contains(got, "80/tcp -> 127.0.0.1:18401") || !strings.Contains(got, "83/tcp -> 0.0.0.0:18403") {
		t.Errorf("port after port add:\n%s", got)
	}
	for address, want := range map[string]bool{"127.0.0.1:18400": true, "[::1]:18400": true, "127.0.0.1:18401": true, "127.0.0.1:18409": false} {
		if got := hears(address); got != want {
			t.Errorf("%s answers: %v, want %v", address, got, want)
		}
	}
	for _, tc := range [][2]string{{"18401:80", "port is already allocated"}, {"x:80", "invalid"}} {
		if r := d.Sampan("port", "add", "web", tc[0]); r.Code == 0 || !strings.Contains(strings.ToLower(r.Err), tc[1]) {
			t.Errorf("port add %s: %d %s", tc[0], r.Code, r.Err)
		}
	}
	d.Sampan("port", "rm", "web", "18400:80", "82", "83/tcp").Must(t)
	if hears("127.0.0.1:18400") || hears("[::1]:18400") {
		t.Error("a port that was removed answers")
	}
	if r := d.Sampan("port", "rm", "web", "99"); r.Code == 0 || !strings.Contains(r.Err, "publishes no such port") {
		t.Errorf("port rm of what is not there: %d %s", r.Code, r.Err)
	}
	ln, err := net.Listen("tcp", "0.0.0.0:18400")
	if err != nil {
		t.Errorf("the removed port is not free: %v", err)
	} else {
		ln.Close()
	}
	d.Sampan("update", "--publish", "18404:80", "web").Must(t)
	d.Kill()
	if ln, err := net.Listen("tcp", "0.0.0.0:18404"); err == nil {
		ln.Close()
		t.Error("the new port is free while no daemon runs")
	}
	if !hears("127.0.0.1:18404") || !hears("[::1]:18404") {
		t.Error("the new port does not answer while no daemon runs")
	}
	d.Restart()
	if err := echoes(flow); err != nil {
		t.Errorf("the connection through another port: %v", err)
	}
	want := "80/tcp -> 0.0.0.0:18404 80/tcp -> 127.0.0.1:18401 80/tcp -> [::]:18404 81/tcp -> 0.0.0.0:18410 81/tcp -> [::]:18410"
	ports := func() string {
		return strings.Join(strings.Split(strings.TrimSpace(d.Sampan("port", "web").Must(t)), "\n"), " ")
	}
	if got := ports(); !sameWords(got, want) {
		t.Errorf("ports %q, want %q", got, want)
	}
	d.Sampan("restart", "-t", "0", "web").Must(t)
	if got := ports(); !sameWords(got, want) {
		t.Errorf("ports after a restart %q, want %q", got, want)
	}
	lab.Eventually(t, 10*time.Second, "the new port answers after a restart", func() bool { return hears("127.0.0.1:18404") })
}

// sameWords compares two lists of ports in any order.
func sameWords(a, b string) bool {
	count := map[string]int{}
	for _, w := range strings.Fields(a) {
		count[w]++
	}
	for _, w := range strings.Fields(b) {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func echoes(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		return err
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "ping\n" {
		return fmt.Errorf("%q, %w", buf, err)
	}
	return nil
}

// In the mode "host" the host's own rules for its INPUT decide about published
// ports; in the other they do not see them.
func TestFirewallHost(t *testing.T) {
	for _, c := range []struct {
		mode    string
		blocked bool
	}{{"nat", false}, {"host", true}} {
		t.Run(c.mode, func(t *testing.T) {
			d := start(t, "--firewall", c.mode)
			other := lab.Machine(t, "192.0.2.1/24", "192.0.2.2/24")
			netLab{t, d}.run("web", "-p", "18700:80", "-p", "18701:80")
			from := func(port int) bool {
				for range 5 {
					if other.Run(t, "busybox", "nc", "-w", "1", "192.0.2.1", fmt.Sprint(port)).Out == "hello\n" {
						return true
					}
				}
				return false
			}
			lab.Eventually(t, 10*time.Second, "the server answers", func() bool { return from(18701) })
			lab.Run(t, nil, "nft", "add", "table", "inet", "admin").Must(t)
			defer lab.Run(t, nil, "nft", "delete", "table", "inet", "admin")
			lab.Run(t, nil, "nft", "add chain inet admin input { type filter hook input priority 0; }").Must(t)
			lab.Run(t, nil, "nft", "add", "rule", "inet", "admin", "input", "tcp", "dport", "18700", "drop").Must(t)
			check := func(what string, port int, open bool) {
				t.Helper()
				if open {
					lab.Eventually(t, 10*time.Second, what+" answers", func() bool { return from(port) })
				} else if from(port) {
					t.Errorf("%s answers", what)
				}
			}
			check("a port that the host's INPUT drops", 18700, !c.blocked)
			check("the other port", 18701, true)
			// The admin's own rules for forwarded traffic hold in the other mode,
			// also with the next daemon.
			lab.Run(t, nil, "nft", "add", "rule", "inet", "sampan-user", "forward", "ip", "saddr", "192.0.2.2", "tcp", "dport", "80", "drop").Must(t)
			defer lab.Run(t, nil, "nft", "flush", "chain", "inet", "sampan-user", "forward")
			d.Kill()
			d.Restart()
			check("a port that the admin's own rule drops", 18701, c.blocked)
		})
	}
}

// Published ports, those that the kernel translates and those that the supervisor relays,
// follow the container's way out from network to network, also with the next daemon.
func TestPortsFollowTheWayOut(t *testing.T) {
	d := start(t)
	d.Sampan("network", "create", "--subnet", "10.95.0.0/24", "first").Must(t)
	d.Sampan("network", "create", "--subnet", "10.96.0.0/24", "second").Must(t)
	d.Sampan("run", "-d", "--name", "web", "--stop-timeout", "0", "--network", "first", "-p", fmt.Sprintf("18950:%d", attackedPort), "-p", fmt.Sprintf("18950:%d/udp", attackedPort),
		busybox, "sleep", "1000").Must(t)
	d.Inside("web").Serve(t, attackedPort)
	here := lab.Here(t)
	answers := func(when string) {
		t.Helper()
		list := both("by 127.0.0.1", here, "127.0.0.1", 18950)
		succeed(t, when, append(list, attempt{"by [::1]", here, "tcp", netip.MustParseAddrPort("[::1]:18950")}))
	}
	answers("in the first network")
	d.Sampan("network", "connect", "--gw-priority", "5", "second", "web").Must(t)
	answers("in both networks")
	d.Sampan("network", "disconnect", "first", "web").Must(t)
	answers("in the second network")
	d.Kill()
	answers("while no daemon runs")
	d.Restart()
	d.Sampan("network", "connect", "first", "web").Must(t)
	d.Sampan("network", "disconnect", "second", "web").Must(t)
	answers("in the first network again")
}
