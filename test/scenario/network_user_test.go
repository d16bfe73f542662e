package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// server answers one word to each connection to port 80.
var server = []string{"sh", "-c", "while :; do echo hello | nc -l -p 80 >/dev/null; done"}

// asks tells whether a container gets an answer from a name or address.
func asks(t *testing.T, d *lab.Daemon, from, to string) bool {
	t.Helper()
	for range 5 { // the server's loop opens its port again after each answer
		if d.Sampan("exec", from, "sh", "-c", "nc -w 1 "+to+" 80 </dev/null").Out == "hello\n" {
			return true
		}
	}
	return false
}

func (n netLab) run(name string, flags ...string) {
	n.t.Helper()
	args := append([]string{"run", "-d", "--name", name, "--stop-timeout", "0"}, flags...)
	n.d.Sampan(append(append(args, busybox), server...)...).Must(n.t)
}

type netLab struct {
	t *testing.T
	d *lab.Daemon
}

func (n netLab) reach(from, to string, want bool) {
	n.t.Helper()
	if want {
		lab.Eventually(n.t, 10*time.Second, from+" reaches "+to, func() bool { return asks(n.t, n.d, from, to) })
	} else if n.d.Sampan("exec", from, "sh", "-c", "nc -w 1 "+to+" 80 </dev/null").Out == "hello\n" {
		n.t.Errorf("%s reaches %s", from, to)
	}
}

func (n netLab) address(name, network string) string {
	n.t.Helper()
	return n.d.Sampan("inspect", "-f", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, name).Must(n.t)
}

// Networks of one's own: names, isolation, several networks, and changes while
// the container runs, before and after the daemon dies.
func TestUserNetworks(t *testing.T) {
	d := start(t)
	n := netLab{t, d}
	d.Sampan("network", "create", "front").Must(t)
	d.Sampan("network", "create", "--internal", "back").Must(t)
	d.Sampan("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "quiet").Must(t)
	n.run("web", "--network", "front", "--network-alias", "www")
	n.run("app", "--network", "front")
	n.run("db", "--network", "back")
	n.run("q1", "--network", "quiet")
	n.run("q2", "--network", "quiet", "-p", "18333:80")
	n.run("plain")

	n.reach("app", "web", true)
	n.reach("app", "www.front", true)
	n.reach("app", n.address("db", "back"), false)
	n.reach("plain", n.address("web", "front"), false)
	n.reach("web", n.address("plain", "bridge"), false)
	n.reach("q1", n.address("q2", "quiet"), false)
	if d.Sampan("exec", "app", "nslookup", "db").Code == 0 {
		t.Error("a name of another network is known")
	}

	d.Sampan("network", "connect", "--alias", "api", "back", "app").Must(t)
	n.reach("app", "db", true)
	n.reach("db", "api", true)
	n.reach("db", n.address("web", "front"), false)
	if out := d.Sampan("exec", "app", "ip", "route").Must(t); strings.Count(out, "default via") != 1 || !strings.Contains(out, "dev eth0") {
		t.Errorf("routes in two networks:\n%s", out)
	}
	// The way out moves with the priority, and back.
	d.Sampan("network", "create", "--subnet", "10.81.0.0/24", "fast").Must(t)
	d.Sampan("network", "connect", "--gw-priority", "9", "--ip", "10.81.0.50", "fast", "app").Must(t)
	if out := d.Sampan("exec", "app", "ip", "route").Must(t); !strings.Contains(out, "default via 10.81.0.1 dev eth2") || strings.Count(out, "default via") != 1 {
		t.Errorf("routes after --gw-priority:\n%s", out)
	}
	d.Kill()
	d.Restart()
	n.reach("app", "db", true)
	n.reach("plain", n.address("web", "front"), false)
	d.Sampan("network", "disconnect", "fast", "app").Must(t)
	if out := d.Sampan("exec", "app", "ip", "route").Must(t); !strings.Contains(out, "default via") || strings.Contains(out, "eth2") {
		t.Errorf("routes after disconnect:\n%s", out)
	}
	if r := d.Sampan("network", "rm", "back"); r.Code == 0 || !strings.Contains(r.Err, "has active endpoints") {
		t.Errorf("rm of a network in use: %d %s", r.Code, r.Err)
	}
	d.Sampan("network", "disconnect", "back", "app").Must(t)
	n.reach("app", n.address("db", "back"), false)

	// A container of the default network gets names with its first network.
	d.Sampan("network", "connect", "front", "plain").Must(t)
	n.reach("plain", "web", true)
	d.Sampan("rename", "web", "site").Must(t)
	n.reach("app", "site", true)
	// What was asked for survives a stop.
	d.Sampan("network", "connect", "back", "app").Must(t)
	d.Sampan("restart", "-t", "0", "app").Must(t)
	n.reach("app", "db", true)
	n.reach("app", "site", true)

	if out := d.Sampan("network", "prune", "--dry-run").Must(t); !strings.Contains(out, "fast") || strings.Contains(out, "front") {
		t.Errorf("prune --dry-run: %q", out)
	}
	if out := d.Docker("network", "prune", "-f").Must(t); !strings.Contains(out, "fast") || strings.Contains(out, "front") {
		t.Errorf("prune: %q", out)
	}
	d.Sampan("rm", "-f", "site", "app", "db", "q1", "q2", "plain").Must(t)
	d.Sampan("network", "rm", "front", "back", "quiet").Must(t)
	lab.Eventually(t, 5*time.Second, "no bridge is left", func() bool {
		return !strings.Contains(lab.Run(t, nil, "ip", "-o", "link").Must(t), "br-")
	})
}

// Two networks with IPv6: addresses, names, published ports and isolation of both
// families, from another machine too.
func TestNetworkIPv6(t *testing.T) {
	d := start(t)
	n := netLab{t, d}
	other := lab.Machine(t, "192.0.2.1/24", "192.0.2.2/24")
	lab.Run(t, nil, "ip", "-6", "addr", "add", "2001:db8:9::1/64", "dev", "cable0", "nodad").Must(t)
	other.Run(t, "ip", "-6", "addr", "add", "2001:db8:9::2/64", "dev", "cable1", "nodad").Must(t)
	other.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8:9::1").Must(t)
	d.Sampan("network", "create", "--ipv6", "--subnet", "fd00:5::/64", "six").Must(t)
	d.Sampan("network", "create", "--ipv6", "chosen").Must(t)
	n.run("s1", "--network", "six", "--ip6", "fd00:5::77", "-p", "18080:80")
	n.run("s2", "--network", "six")
	n.run("c1", "--network", "chosen")
	n.reach("s2", "fd00:5::77", true)
	n.reach("s2", "s1", true)
	n.reach("c1", "fd00:5::77", false)
	if out := d.Sampan("inspect", "-f", "{{(index .NetworkSettings.Networks \"chosen\").GlobalIPv6Address}}", "c1").Must(t); !strings.HasPrefix(out, "fd") {
		t.Errorf("address in a network without a named subnet: %q", out)
	}
	get := func(run func(argv ...string) lab.Result, to string, port int) bool {
		for range 5 {
			if run("busybox", "sh", "-c", fmt.Sprintf("busybox nc -w 1 %s %d </dev/null", to, port)).Out == "hello\n" {
				return true
			}
		}
		return false
	}
	here := func(argv ...string) lab.Result { return lab.Run(t, nil, argv...) }
	there := func(argv ...string) lab.Result { return other.Run(t, argv...) }
	for _, c := range []struct {
		what string
		run  func(argv ...string) lab.Result
		to   string
		port int
		want bool
	}{
		{"published on IPv6 from another machine", there, "2001:db8:9::1", 18080, true},
		{"published on IPv4 from another machine", there, "192.0.2.1", 18080, true},
		{"the container itself from another machine", there, "fd00:5::77", 80, false},
		{"published on ::1", here, "::1", 18080, true},
		{"published on 127.0.0.1", here, "127.0.0.1", 18080, true},
		{"published, by the host's own address", here, "2001:db8:9::1", 18080, true},
	} {
		if c.want {
			lab.Eventually(t, 10*time.Second, c.what+" answers", func() bool { return get(c.run, c.to, c.port) })
		} else if get(c.run, c.to, c.port) {
			t.Errorf("%s answers", c.what)
		}
	}
}
