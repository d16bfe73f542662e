package parity

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netns"
)

const (
	// refusal is how long an unanswered connection is given.
	refusal = 400 * time.Millisecond
	// askers bounds the connections under way at once.
	askers = 24
	// servedPort is where every container's server is, of TCP and UDP.
	servedPort = 8099
)

// place is where connections come from and go to: a network namespace.
type place struct {
	name  string
	ns    *os.File
	addrs []netip.Addr
	// published is the host's port of the server, 0 without one.
	published int
}

// reachFlags are the containers, by name. A server runs in those without a
// digit 2; who has a port in the table publishes it.
var reachFlags = []struct {
	name      string
	flags     []string
	published int
}{
	{"bridge1", nil, 18501}, {"bridge2", nil, 0},
	{"user1", []string{"--network", "reach-user"}, 18502}, {"user2", []string{"--network", "reach-user"}, 0},
	{"six1", []string{"--network", "reach-six"}, 18503}, {"six2", []string{"--network", "reach-six"}, 0},
	{"internal1", []string{"--network", "reach-internal"}, 0}, {"internal2", []string{"--network", "reach-internal"}, 0},
	{"macvlan1", []string{"--network", "reach-macvlan", "--ip", "192.0.2.11"}, 0}, {"macvlan2", []string{"--network", "reach-macvlan", "--ip", "192.0.2.12"}, 0},
	{"none2", []string{"--network", "none"}, 0}, {"joined2", []string{"--network", "container:bridge1"}, 0},
}

var reachNetworks = [][]string{
	{"reach-user"}, {"--ipv6", "--subnet", "10.82.0.0/24", "--subnet", "fd00:82::/64", "reach-six"}, {"--internal", "--subnet", "10.83.0.0/24", "reach-internal"},
	{"-d", "macvlan", "-o", "parent=cable", "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.1", "reach-macvlan"},
}

// TestReachability asks in every direction who answers whom, on both engines: each
// kind of network, the host and another machine, by TCP and UDP, IPv4 and IPv6, at
// the container's address and at its published port.
func TestReachability(t *testing.T) {
	p := startPair(t)
	x, y := p.both(t, func(e *engine) any { return e.reachability(t) })
	ours, theirs := x.(map[string]bool), y.(map[string]bool)
	var cells []string
	for cell := range ours {
		cells = append(cells, cell)
		if _, ok := theirs[cell]; !ok {
			t.Errorf("%s was asked of one engine only", cell)
		}
	}
	sort.Strings(cells)
	if len(cells) < 200 {
		t.Errorf("only %d cells", len(cells))
	}
	used := map[string]int{}
	open := 0
	for _, cell := range cells {
		if theirs[cell] {
			open++
		}
		if ours[cell] == theirs[cell] {
			continue
		}
		if why := reachException(cell, ours[cell]); why != "" {
			used[why]++
			continue
		}
		t.Errorf("%s: %s answers %v, %s %v", cell, p.ours.name, ours[cell], p.theirs.name, theirs[cell])
	}
	t.Logf("%d cells, %d of them open with %s", len(cells), open, p.theirs.name)
	for why, n := range used {
		t.Logf("%d cells differ: %s", n, why)
	}
}

// reachException is why a cell may differ from docker.io's, or "". A cell is
// "FROM to TO PROTO4|6 direct|published".
func reachException(cell string, ours bool) string {
	f := strings.Fields(cell)
	from, to, proto, way := f[0], f[2], f[3], f[4]
	published := slices.Contains([]string{"bridge1", "user1", "six1"}, to)
	switch {
	case !ours && from == "machine" && way == "direct" && published && strings.HasSuffix(proto, "4"):
		return "dockerd 20.10 lets other machines reach a published port at the container's own address too; ours only at the host's, as newer Docker does"
	case !ours && way == "direct" && to == "six1" && strings.HasSuffix(proto, "6") && from != "host" && !strings.HasPrefix(from, "six"):
		return "dockerd 20.10 filters no IPv6, so that every network and machine reaches every container"
	case !ours && way == "published" && proto == "udp6" && to != "six1":
		return "dockerd's process relays UDP from IPv6 to containers that have IPv4 alone; ours publishes UDP on the families that the container has"
	case ours && way == "published" && strings.HasPrefix(proto, "udp") && from != "host" && from != "machine":
		return "dockerd's proxy process answers a container's datagrams from the bridge's address, which is not the one that was asked"
	}
	return ""
}

// reachability makes the containers and asks for every cell.
func (e *engine) reachability(t *testing.T) map[string]bool {
	host := e.host(t)
	machine := e.machine(t, host)
	for _, flags := range reachNetworks {
		e.docker(t, append([]string{"network", "create"}, flags...)...).Must(t)
	}
	t.Cleanup(func() { e.docker(t, "network", "prune", "-f") })
	places := []*place{host, machine}
	var servers []*place
	for _, c := range reachFlags {
		args := append([]string{"run", "-d", "--name", c.name}, c.flags...)
		if c.published != 0 {
			args = append(args, "-p", fmt.Sprintf("%d:%d", c.published, servedPort), "-p", fmt.Sprintf("%d:%d/udp", c.published, servedPort))
		}
		e.docker(t, append(args, busybox, "sleep", "1000")...).Must(t)
		pl := e.container(t, c.name)
		pl.published = c.published
		places = append(places, pl)
		if !strings.HasSuffix(c.name, "2") {
			servers = append(servers, pl)
			serve(t, pl.ns)
		}
	}
	t.Cleanup(func() {
		for _, c := range reachFlags {
			e.docker(t, "rm", "-f", c.name)
		}
	})
	serve(t, machine.ns)
	servers = append(servers, machine)
	settle(host, servers)
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]bool{}
	slots := make(chan struct{}, askers)
	try := func(from *place, to, proto, way, address string) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answered := answers(from.ns, proto, address)
			mu.Lock()
			out[fmt.Sprintf("%s to %s %s %s", from.name, to, proto, way)] = answered
			mu.Unlock()
		})
	}
	for _, from := range places {
		for _, to := range servers {
			for _, l4 := range []string{"tcp", "udp"} {
				for _, a := range to.addrs {
					try(from, to.name, l4+family(a), "direct", netip.AddrPortFrom(a, servedPort).String())
				}
				if to.published == 0 {
					continue
				}
				for _, a := range host.addrs {
					try(from, to.name, l4+family(a), "published", netip.AddrPortFrom(a, uint16(to.published)).String())
				}
			}
		}
	}
	wg.Wait()
	return out
}

// settle waits until the host reaches the containers' IPv6 addresses: the kernel
// takes a second or two to make sure that nobody else has its own.
func settle(host *place, servers []*place) {
	const patience = 15 * time.Second
	deadline := time.Now().Add(patience)
	for _, to := range servers {
		for _, a := range to.addrs {
			for !a.Is4() && !answers(host.ns, "tcp", netip.AddrPortFrom(a, servedPort).String()) && time.Now().Before(deadline) {
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// host is the namespace of the engine, found by who listens on its socket.
func (e *engine) host(t *testing.T) *place {
	c, err := net.Dial("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
	return &place{name: "host", ns: namespace(t, fmt.Sprint(cred.Pid))}
}

func namespace(t *testing.T, pid string) *os.File {
	f, err := os.Open("/proc/" + pid + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func (e *engine) container(t *testing.T, name string) *place {
	pl := &place{name: name, ns: namespace(t, e.docker(t, "inspect", "-f", "{{.State.Pid}}", name).Must(t))}
	for _, word := range strings.Fields(e.docker(t, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}", name).Must(t)) {
		if a, err := netip.ParseAddr(word); err == nil {
			pl.addrs = append(pl.addrs, a)
		}
	}
	return pl
}

// machine makes another machine on a wire to the host.
func (e *engine) machine(t *testing.T, host *place) *place {
	other, err := netns.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	run := func(ns *os.File, argv ...string) {
		err := netns.Do(ns, func() error { return command(argv...) })
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(argv, " "), err)
		}
	}
	run(host.ns, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), other.Fd()))
	t.Cleanup(func() { _ = netns.Do(host.ns, func() error { return command("ip", "link", "del", "cable") }) })
	for i, ns := range []*os.File{host.ns, other} {
		run(ns, "ip", "link", "set", "lo", "up")
		run(ns, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "cable")
		run(ns, "ip", "-6", "addr", "add", fmt.Sprintf("2001:db8:9::%d/64", i+1), "dev", "cable", "nodad")
		run(ns, "ip", "link", "set", "cable", "up")
	}
	run(other, "ip", "route", "add", "default", "via", "192.0.2.1")
	run(other, "ip", "-6", "route", "add", "default", "via", "2001:db8:9::1")
	host.addrs = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:9::1")}
	return &place{name: "machine", ns: other, addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8:9::2")}}
}

// serve answers one word by TCP and UDP in a namespace.
func serve(t *testing.T, ns *os.File) {
	address := fmt.Sprintf(":%d", servedPort)
	err := netns.Do(ns, func() error {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		pc, err := net.ListenPacket("udp", address)
		if err != nil {
			ln.Close()
			return err
		}
		t.Cleanup(func() { ln.Close(); pc.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "hello")
				c.Close()
			}
		}()
		go func() {
			buf := make([]byte, 64)
			for {
				_, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = pc.WriteTo([]byte("hello"), from)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// answers tells whether the server says its word to a client in a namespace.
func answers(ns *os.File, proto, address string) (ok bool) {
	_ = netns.Do(ns, func() error {
		for range 2 { // the first datagram may be lost while an address is looked for
			c, err := net.DialTimeout(proto, address, refusal)
			if err != nil {
				return err
			}
			_ = c.SetDeadline(time.Now().Add(refusal))
			if strings.HasPrefix(proto, "udp") {
				_, _ = c.Write([]byte("?"))
			}
			word, _ := io.ReadAll(io.LimitReader(c, 5))
			c.Close()
			if ok = string(word) == "hello"; ok {
				return nil
			}
		}
		return nil
	})
	return ok
}

// command runs a program in the calling thread's namespace.
func command(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
