package scenario

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/dnsload"
	"github.com/sampan-containers/sampan/test/lab"
)

// hostResolver gives the machine a resolver on its loopback, as systemd-resolved
// is one, that answers every A query with 192.0.2.1, and counts the names asked.
func hostResolver(t *testing.T) (asked func() []string) {
	t.Helper()
	const addr = "127.0.0.53"
	asked = resolverAt(t, addr)
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver "+addr+"\nsearch lan.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount("/etc/resolv.conf", 0); err != nil {
			t.Error(err)
		}
	})
	return asked
}

// resolverAt is a DNS server on an address of the machine.
func resolverAt(t *testing.T, addr string) (asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var names []string
	pc, err := net.ListenPacket("udp", addr+":53")
	// What a test before this one started may have its socket until the execve.
	for end := time.Now().Add(lab.Scale(time.Second)); errors.Is(err, unix.EADDRINUSE) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		pc, err = net.ListenPacket("udp", addr+":53")
	}
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		names = append(names, q.Question[0].Name)
		mu.Unlock()
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2, 1)}}
		}
		_ = w.WriteMsg(m)
	})}
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() { _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), names...)
	}
}

// lookup resolves a name inside a container and returns what nslookup prints
// behind the server's own address.
func lookup(d *lab.Daemon, container string, args ...string) lab.Result {
	// busybox puts the search domains behind any name, whatever ndots says.
	if last := &args[len(args)-1]; !strings.HasSuffix(*last, ".") && !net.ParseIP(*last).IsPrivate() {
		*last += "."
	}
	r := d.Sampan(append([]string{"exec", container, "busybox", "nslookup"}, args...)...)
	_, r.Out, _ = strings.Cut(r.Out, "\n\n")
	return r
}

func TestNames(t *testing.T) {
	asked := hostResolver(t)
	d := start(t)
	d.Sampan("network", "create", "front").Must(t)
	d.Sampan("network", "create", "--internal", "back").Must(t)
	run := func(args ...string) string {
		return d.Sampan(append(append([]string{"run", "-d"}, args...), busybox, "sleep", "1000")...).Must(t)
	}
	db := run("--name", "db", "--network", "back", "--network-alias", "database")
	run("--name", "web", "--network", "front", "--network-alias", "site", "--dns-search", "shop.example", "--dns-opt", "timeout:3")
	run("--name", "web2", "--network", "front", "--network-alias", "site")
	run("--name", "inside", "--network", "back", "--link", "db:store")
	run("--name", "plain")
	address := func(name, network string) string {
		return d.Sampan("inspect", "-f", fmt.Sprintf(`{{(index .NetworkSettings.Networks %q).IPAddress}}`, network), name).Must(t)
	}
	dbIP, webIP, web2IP := address("db", "back"), address("web", "front"), address("web2", "front")

	for _, c := range []struct {
		from, name string
		want       []string // each is in the answer; none = not found
	}{
		{"web", "web2", []string{web2IP}},
		{"web", "WEB2", []string{web2IP}},
		{"web", "web2.front", []string{web2IP}},
		{"web", "site", []string{webIP, web2IP}},
		{"web", "db", nil},
		{"inside", "db", []string{dbIP}},
		{"inside", "database", []string{dbIP}},
		{"inside", "store", []string{dbIP}},
		{"inside", db[:12], []string{dbIP}},
		{"inside", dbIP, []string{"db.back"}},
		{"inside", "secret.example.org", nil},
		{"web", "www.example.org", []string{"192.0.2.1"}},
	} {
		args := []string{"-type=a", c.name}
		if strings.Contains(c.name, dbIP) {
			args = args[1:]
		}
		r := lookup(d, c.from, args...)
		if c.name == "db" && c.from == "web" {
			// The host's resolver answers everything; what counts is that it was
			// asked, and did not learn the address from us.
			if strings.Contains(r.Out, dbIP) {
				t.Errorf("web finds db in a network it is not in: %s", r.Out)
			}
			continue
		}
		if (r.Code == 0) != (c.want != nil) {
			t.Errorf("%s asks for %s: exit %d: %s%s", c.from, c.name, r.Code, r.Out, r.Err)
		}
		for _, w := range c.want {
			if !strings.Contains(r.Out, w) {
				t.Errorf("%s asks for %s: %q lacks %s", c.from, c.name, r.Out, w)
			}
		}
	}
	for _, name := range asked() {
		if strings.Contains(name, "secret") || strings.Contains(name, "web2") || strings.Contains(name, "site") {
			t.Errorf("%s was asked for outside", name)
		}
	}
	for container, want := range map[string]string{
		"web":    "nameserver 127.0.0.11\nsearch shop.example\noptions timeout:3 ndots:0",
		"inside": "nameserver 127.0.0.11\nsearch lan.example\noptions ndots:0",
		"plain":  "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch lan.example",
	} {
		if got := d.Sampan("exec", container, "cat", "/etc/resolv.conf").Must(t); got != want {
			t.Errorf("resolv.conf of %s:\n%s\nwant\n%s", container, got, want)
		}
	}
	// A container that goes is not found any more, one that comes is at once.
	d.Sampan("rm", "-f", "web2").Must(t)
	if r := lookup(d, "web", "-type=a", "site"); strings.Contains(r.Out, web2IP) {
		t.Errorf("a removed container is found: %s", r.Out)
	}
	run("--name", "web3", "--network", "front", "--network-alias", "site")
	if r := lookup(d, "web", "-type=a", "site"); !strings.Contains(r.Out, address("web3", "front")) {
		t.Errorf("a new container is not found: %s", r.Out)
	}
}

// A container that comes to a network while it runs is answered from then on.
func TestNamesOfConnectedContainers(t *testing.T) {
	d := start(t)
	d.Sampan("network", "create", "front").Must(t)
	d.Sampan("run", "-d", "--name", "web", "--network", "front", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "late", busybox, "sleep", "1000").Must(t)
	d.Sampan("network", "connect", "--alias", "guest", "front", "late").Must(t)
	lookup(d, "late", "-type=a", "web").Must(t)
	lookup(d, "web", "-type=a", "guest").Must(t)
	d.Kill()
	d.Restart()
	lookup(d, "late", "-type=a", "web").Must(t)
	resolv := func() string { return d.Sampan("exec", "late", "cat", "/etc/resolv.conf").Must(t) }
	if got := resolv(); !strings.Contains(got, "127.0.0.11") {
		t.Errorf("resolv.conf of a connected container: %s", got)
	}
	d.Sampan("network", "disconnect", "front", "late").Must(t)
	if got := resolv(); strings.Contains(got, "127.0.0.11") {
		t.Errorf("resolv.conf of a disconnected container: %s", got)
	}
	d.Sampan("network", "connect", "front", "late").Must(t)
	lookup(d, "late", "-type=a", "web").Must(t)
	d.Sampan("network", "disconnect", "front", "late").Must(t)
	d.Sampan("exec", "late", "sh", "-c", "echo nameserver 192.0.2.99 > /etc/resolv.conf").Must(t)
	d.Sampan("network", "connect", "front", "late").Must(t)
	if got := resolv(); got != "nameserver 192.0.2.99" {
		t.Errorf("a resolv.conf that was written inside became %s", got)
	}
	d.Sampan("network", "disconnect", "front", "late").Must(t)
	if r := lookup(d, "web", "-type=a", "guest"); r.Code == 0 {
		t.Errorf("a disconnected container is found: %s", r.Out)
	}
}

// The host moves to another resolver while containers run.
func TestNamesAfterTheHostMoved(t *testing.T) {
	first := hostResolver(t)
	second := resolverAt(t, "127.0.0.54")
	d := start(t)
	d.Sampan("network", "create", "front").Must(t)
	d.Sampan("run", "-d", "--name", "web", "--network", "front", busybox, "sleep", "1000").Must(t)
	lookup(d, "web", "-type=a", "before.example.org").Must(t)
	if len(first()) == 0 {
		t.Error("the host's resolver was not asked")
	}
	if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver 127.0.0.54\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	n := 0
	lab.Eventually(t, 5*time.Second, "the new resolver is asked", func() bool {
		n++
		lookup(d, "web", "-type=a", fmt.Sprintf("after%d.example.org", n)).Must(t)
		return len(second()) > 0
	})
}

// --dns is asked from within the container.
func TestOwnServers(t *testing.T) {
	asked := hostResolver(t)
	d := start(t)
	d.Sampan("network", "create", "front").Must(t)
	d.Sampan("run", "-d", "--name", "web", "--network", "front", "--dns", "127.0.0.99", busybox, "sleep", "1000").Must(t)
	pid, err := strconv.Atoi(d.Sampan("inspect", "-f", "{{.State.Pid}}", "web").Must(t))
	if err != nil {
		t.Fatal(err)
	}
	var pc net.PacketConn
	if err := dnsload.Inside(pid, func() (err error) { pc, err = net.ListenPacket("udp", "127.0.0.99:53"); return }); err != nil {
		t.Fatal(err)
	}
	stop := dnsload.Upstream(pc)
	defer stop()
	if r := lookup(d, "web", "-type=a", "www.example.org"); !strings.Contains(r.Out, "192.0.2.1") {
		t.Errorf("got %s%s", r.Out, r.Err)
	}
	if names := asked(); len(names) != 0 {
		t.Errorf("the host's resolver was asked for %v", names)
	}
}

// dnsFleet starts containers that are asked from, and returns their pids.
func dnsFleet(t *testing.T, d *lab.Daemon, n int) (pids []int, names []string) {
	t.Helper()
	d.Sampan("network", "create", "load").Must(t)
	for i := range n {
		name := fmt.Sprintf("c%d", i)
		d.Sampan("run", "-d", "--name", name, "--network", "load", "--network-alias", "all", busybox, "sleep", "1000").Must(t)
		pid, err := strconv.Atoi(d.Sampan("inspect", "-f", "{{.State.Pid}}", name).Must(t))
		if err != nil {
			t.Fatal(err)
		}
		pids, names = append(pids, pid), append(names, name)
	}
	return pids, append(names, "all")
}

// Two thousand queries a second from twenty containers, for their own names and
// for names outside: none fails.
func TestNamesUnderLoad(t *testing.T) {
	hostResolver(t)
	d := start(t)
	pids, names := dnsFleet(t, d, 20)
	for i := range 20 {
		names = append(names, fmt.Sprintf("host%d.example.org", i))
	}
	load := dnsload.Load{Pids: pids, Names: names, Rate: 2000, Total: counts.Of("dns.queries")}
	r, err := load.Run()
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed > 0 || r.Answered == 0 {
		t.Errorf("%d of %d queries failed: %v", r.Failed, r.Failed+r.Answered, r.Failures)
	}
	t.Logf("%d answers in %v, median %v, 99th percentile %v", r.Answered, r.Took.Round(time.Millisecond), r.Quantile(0.5), r.Quantile(0.99))
}

// What is asked while the daemon is killed and started again is answered by the
// next one, within a resolver's patience.
func TestNamesWhileTheDaemonIsKilled(t *testing.T) {
	d := start(t)
	pids, names := dnsFleet(t, d, 3)
	stop, over := make(chan struct{}), make(chan struct{})
	var lost []string
	answered := 0
	go func() {
		defer close(over)
		c := dns.Client{Timeout: 5 * time.Second}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			q := new(dns.Msg).SetQuestion(names[i%len(names)]+".", dns.TypeA)
			// As resolv.conf(5) has it: two attempts of five seconds each.
			var err error
			for range 2 {
				err = dnsload.Inside(pids[i%len(pids)], func() error {
					m, _, err := c.Exchange(q, "127.0.0.11:53")
					if err == nil && len(m.Answer) == 0 {
						err = fmt.Errorf("answered with %s", dns.RcodeToString[m.Rcode])
					}
					return err
				})
				if err == nil {
					break
				}
			}
			if err != nil {
				lost = append(lost, fmt.Sprintf("%s: %v", q.Question[0].Name, err))
			}
			answered++
		}
	}()
	for range counts.Of("dns.kill") {
		d.Kill()
		time.Sleep(50 * time.Millisecond)
		d.Restart()
		time.Sleep(50 * time.Millisecond)
	}
	close(stop)
	<-over
	if len(lost) > 0 || answered == 0 {
		t.Errorf("%d of %d lookups failed: %v", len(lost), answered, lost)
	}
	t.Logf("%d lookups answered over the restarts", answered)
}
