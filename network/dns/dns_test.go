package dns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/test/counts"
)

// The tests run in a network namespace of their own, in which they may serve
// port 53; containers are further namespaces.
func TestMain(m *testing.M) {
	const inside = "SAMPAN_DNS_TEST_NAMESPACE"
	if os.Getenv(inside) != "" {
		conn, err := netlink.Open()
		if err == nil {
			err = conn.Do(netlink.SetUp("lo"))
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		fmt.Println("skipped: the resolver's tests make namespaces and rules and need root")
		os.Exit(0)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	} else if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

const patience = 10 * time.Second

// fakeNames is a network with web (three addresses and one of IPv6) and db.
type fakeNames struct{ internal bool }

var webAddrs = []netip.Addr{netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.1.0.3"), netip.MustParseAddr("10.1.0.4"), netip.MustParseAddr("fd00::2")}

func (f fakeNames) Lookup(_, name string) ([]netip.Addr, bool) {
	switch strings.ToLower(strings.TrimSuffix(name, ".")) {
	case "web", "web.net":
		return webAddrs, true
	case "db":
		return webAddrs[:1], true
	case "empty":
		return nil, true
	}
	return nil, false
}

func (f fakeNames) Reverse(_ string, a netip.Addr) (string, bool) {
	return "web.net", slices.Contains(webAddrs, a)
}

func (f fakeNames) Outside(string) bool { return !f.internal }

// box is a container's namespace that is served.
type box struct {
	t  *testing.T
	r  *Resolver
	ns *os.File
	Sockets
}

func newBox(t *testing.T, r *Resolver, c Client) *box {
	t.Helper()
	sb, err := netns.NewSandbox()
	if err != nil {
		t.Fatal(err)
	}
	sb.Conn.Close()
	t.Cleanup(func() { sb.File.Close() })
	b := &box{t: t, r: r, ns: sb.File}
	if b.Sockets, err = Open(sb.File); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Sockets.Close)
	c.ID = "box"
	b.serve(c)
	return b
}

func (b *box) serve(c Client) {
	b.t.Helper()
	c.UDP, c.TCP = copyOf(b.t, b.UDP), copyOf(b.t, b.TCP)
	if err := b.r.Serve(c); err != nil {
		b.t.Fatal(err)
	}
}

func copyOf(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

func newResolver(t *testing.T, cfg Config) *Resolver {
	if cfg.Names == nil {
		cfg.Names = fakeNames{}
	}
	r := New(cfg)
	t.Cleanup(r.Close)
	return r
}

// dial connects to the resolver as a process of the container does.
func (b *box) dial(network string) net.Conn {
	b.t.Helper()
	var conn net.Conn
	err := netns.Do(b.ns, func() (err error) {
		conn, err = net.Dial(network, "127.0.0.11:53")
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func (b *box) ask(network string, m *dns.Msg) *dns.Msg {
	b.t.Helper()
	c := dns.Client{Net: network, UDPSize: 4096, Timeout: patience}
	answer, _, err := c.ExchangeWithConn(m, &dns.Conn{Conn: b.dial(network), UDPSize: 4096})
	if err != nil {
		b.t.Fatalf("%s over %s: %v", m.Question[0].Name, network, err)
	}
	return answer
}

func question(name string, typ uint16) *dns.Msg { return new(dns.Msg).SetQuestion(dns.Fqdn(name), typ) }

// upstream is a server on an address of the test's namespace, or of a box.
type upstream struct {
	asked atomic.Int32
	mu    sync.Mutex
	names []string
}

func (u *upstream) seen() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.names)
}

// serveAt answers with f until the test ends.
func serveAt(t *testing.T, addr string, ns *os.File, f func(q *dns.Msg, w dns.ResponseWriter)) *upstream {
	t.Helper()
	u := &upstream{}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		u.asked.Add(1)
		u.mu.Lock()
		u.names = append(u.names, q.Question[0].Name)
		u.mu.Unlock()
		f(q, w)
	})
	listen := func() error {
		p, err := net.ListenPacket("udp", addr+":53")
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", addr+":53")
		if err != nil {
			return err
		}
		for _, s := range []*dns.Server{{PacketConn: p, Handler: handler}, {Listener: l, Handler: handler}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			go func() { _ = s.ActivateAndServe() }()
			<-started
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		return nil
	}
	if ns == nil {
		var err error
		if ns, err = netns.Current(); err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
	}
	if err := netns.Do(ns, listen); err != nil {
		t.Fatal(err)
	}
	return u
}

// fixed answers each A query with the address and each other with nothing.
func fixed(addr string, ttl uint32) func(*dns.Msg, dns.ResponseWriter) {
	return func(q *dns.Msg, w dns.ResponseWriter) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.ParseIP(addr)}}
		}
		_ = w.WriteMsg(m)
	}
}

func servers(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func text(m *dns.Msg) string {
	var out []string
	for _, rr := range m.Answer {
		out = append(out, strings.Join(strings.Fields(rr.String())[3:], " "))
	}
	slices.Sort(out)
	return dns.RcodeToString[m.Rcode] + " " + strings.Join(out, ", ")
}

func TestNames(t *testing.T) {
	up := serveAt(t, "127.0.0.53", nil, fixed("192.0.2.1", 60))
	b := newBox(t, newResolver(t, Config{Servers: servers("127.0.0.53")}), Client{})
	cases := []struct {
		name string
		typ  uint16
		want string
	}{
		{"web", dns.TypeA, "NOERROR A 10.1.0.2, A 10.1.0.3, A 10.1.0.4"},
		{"WeB.NET", dns.TypeA, "NOERROR A 10.1.0.2, A 10.1.0.3, A 10.1.0.4"},
		{"web", dns.TypeAAAA, "NOERROR AAAA fd00::2"},
		{"db", dns.TypeAAAA, "NOERROR "},
		{"web", dns.TypeMX, "NOERROR "},
		{"empty", dns.TypeA, "NOERROR "},
		{"3.0.1.10.in-addr.arpa", dns.TypePTR, "NOERROR PTR web.net."},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", dns.TypePTR, "NOERROR PTR web.net."},
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range cases {
			t.Run(network+" "+c.name+" "+dns.TypeToString[c.typ], func(t *testing.T) {
				q := question(c.name, c.typ)
				m := b.ask(network, q)
				if text(m) != c.want || m.Question[0].Name != q.Question[0].Name || !m.RecursionAvailable {
					t.Errorf("got %s\n%v\nwant %s", text(m), m, c.want)
				}
			})
		}
	}
	if n := up.asked.Load(); n != 0 {
		t.Errorf("the names of the networks were asked for outside: %q", up.seen())
	}
	if got := text(b.ask("udp", question("example.org", dns.TypeA))); got != "NOERROR A 192.0.2.1" {
		t.Errorf("a name outside: %s", got)
	}
}

// Clients take the first address; they ask for A and AAAA in turn.
func TestRotation(t *testing.T) {
	b := newBox(t, newResolver(t, Config{}), Client{})
	first := map[string]int{}
	const rounds = 30
	for range rounds {
		first[b.ask("udp", question("web", dns.TypeA)).Answer[0].(*dns.A).A.String()]++
		b.ask("udp", question("web", dns.TypeAAAA))
	}
	for a, n := range first {
		if n != rounds/3 {
			t.Errorf("%s came first %d times of %d", a, n, rounds)
		}
	}
	if len(first) != 3 {
		t.Errorf("first places: %v", first)
	}
}

func TestInternalNetworksLeakNothing(t *testing.T) {
	up := serveAt(t, "127.0.0.53", nil, fixed("192.0.2.1", 60))
	open := newBox(t, newResolver(t, Config{Servers: servers("127.0.0.53")}), Client{})
	b := newBox(t, newResolver(t, Config{Names: fakeNames{internal: true}, Servers: servers("127.0.0.53")}), Client{Servers: servers("127.0.0.53")})
	for _, name := range []string{"example.org", "secret", "9.9.9.9.in-addr.arpa"} {
		for _, network := range []string{"udp", "tcp"} {
			for _, typ := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypePTR, dns.TypeANY} {
				if m := b.ask(network, question(name, typ)); m.Rcode != dns.RcodeServerFailure {
					t.Errorf("%s: %s", name, text(m))
				}
			}
		}
	}
	if got := b.ask("udp", question("web", dns.TypeA)); len(got.Answer) != 3 {
		t.Errorf("a name of the internal network: %v", got)
	}
	if n := up.asked.Load(); n != 0 {
		t.Errorf("queries left an internal network: %q", up.seen())
	}
	open.ask("udp", question("example.org", dns.TypeA)) // the server does answer others
}

func TestQualifiedNamesOnly(t *testing.T) {
	up := serveAt(t, "127.0.0.53", nil, fixed("192.0.2.1", 60))
	b := newBox(t, newResolver(t, Config{Servers: servers("127.0.0.53")}), Client{Qualified: true})
	if m := b.ask("udp", question("short", dns.TypeA)); m.Rcode != dns.RcodeNameError {
		t.Errorf("a bare name: %v", m)
	}
	if m := b.ask("udp", question("short.example", dns.TypeA)); len(m.Answer) != 1 || up.asked.Load() != 1 {
		t.Errorf("a qualified name: %v", m)
	}
}

// A container whose --dns is the resolver's own address gets an answer at once.
func TestOwnAddressIsNoServer(t *testing.T) {
	up := serveAt(t, "127.0.0.53", nil, fixed("192.0.2.1", 60))
	b := newBox(t, newResolver(t, Config{Servers: servers("127.0.0.53")}), Client{Servers: servers("127.0.0.11")})
	if m := b.ask("udp", question("example.org", dns.TypeA)); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("a query with nobody to ask: %s", text(m))
	}
	if n := up.asked.Load(); n != 0 {
		t.Errorf("the host's server was asked: %q", up.seen())
	}
	both := newBox(t, newResolver(t, Config{}), Client{Servers: servers("127.0.0.11", "127.0.0.77")})
	serveAt(t, "127.0.0.77", both.ns, fixed("192.0.2.77", 60))
	if got := text(both.ask("udp", question("example.org", dns.TypeA))); got != "NOERROR A 192.0.2.77" {
		t.Errorf("with another server: %s", got)
	}
}

// --dns is asked from within the container, and its answers are nobody else's.
func TestOwnServersAreAskedInside(t *testing.T) {
	outside := serveAt(t, "127.0.0.53", nil, fixed("192.0.2.1", 60))
	r := newResolver(t, Config{Servers: servers("127.0.0.53")})
	b := newBox(t, r, Client{Servers: servers("127.0.0.77")})
	inside := serveAt(t, "127.0.0.77", b.ns, fixed("192.0.2.77", 60))
	for range 2 {
		if got := text(b.ask("udp", question("example.org", dns.TypeA))); got != "NOERROR A 192.0.2.77" {
			t.Errorf("own server: %s", got)
		}
	}
	if outside.asked.Load() != 0 || inside.asked.Load() != 1 {
		t.Errorf("asked outside %d times, inside %d", outside.asked.Load(), inside.asked.Load())
	}
	b.serve(Client{ID: "box"}) // the same container, now without --dns
	if got := text(b.ask("udp", question("example.org", dns.TypeA))); got == "NOERROR A 192.0.2.77" {
		t.Error("an answer of a container's own server reached the cache of all")
	}
}

func TestForward(t *testing.T) {
	big := func(q *dns.Msg, w dns.ResponseWriter) {
		m := new(dns.Msg).SetReply(q)
		for i := range 200 {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, byte(i))})
		}
		if o := q.IsEdns0(); o != nil {
			m.SetEdns0(1232, o.Do())
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncate(512)
		}
		_ = w.WriteMsg(m)
	}
	noEDNS := func(q *dns.Msg, w dns.ResponseWriter) {
		if q.IsEdns0() != nil {
			_ = w.WriteMsg(&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeFormatError}, Question: q.Question})
			return
		}
		fixed("192.0.2.9", 60)(q, w)
	}
	refuses := func(q *dns.Msg, w dns.ResponseWriter) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused)) }
	forged := func(q *dns.Msg, w dns.ResponseWriter) {
		wrong := q.Copy()
		wrong.Id++
		fixed("192.0.2.66", 60)(wrong, w)
		other := q.Copy()
		other.Question[0].Name = "other.example."
		fixed("192.0.2.66", 60)(other, w)
		_, _ = w.Write([]byte("garbage"))
		fixed("192.0.2.1", 60)(q, w)
	}
	serveAt(t, "127.0.1.1", nil, big)
	serveAt(t, "127.0.1.2", nil, noEDNS)
	serveAt(t, "127.0.1.3", nil, refuses)
	serveAt(t, "127.0.1.4", nil, fixed("192.0.2.4", 60))
	serveAt(t, "127.0.1.5", nil, forged)
	serveAt(t, "127.0.1.6", nil, func(*dns.Msg, dns.ResponseWriter) {})
	cases := []struct {
		name    string
		servers []string
		want    string
	}{
		{"without EDNS", []string{"127.0.1.2"}, "NOERROR A 192.0.2.9"},
		{"the first refuses", []string{"127.0.1.3", "127.0.1.4"}, "NOERROR A 192.0.2.4"},
		{"the first is not there", []string{"127.0.1.99", "127.0.1.4"}, "NOERROR A 192.0.2.4"},
		{"the first is silent", []string{"127.0.1.6", "127.0.1.4"}, "NOERROR A 192.0.2.4"},
		{"all refuse", []string{"127.0.1.3"}, "REFUSED "},
		{"none is there", []string{"127.0.1.99"}, "SERVFAIL "},
		{"forged answers", []string{"127.0.1.5"}, "NOERROR A 192.0.2.1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, newResolver(t, Config{Servers: servers(c.servers...)}), Client{})
			if got := text(b.ask("udp", question("example.org", dns.TypeA))); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	t.Run("large", func(t *testing.T) {
		b := newBox(t, newResolver(t, Config{Servers: servers("127.0.1.1")}), Client{})
		if m := b.ask("udp", question("example.org", dns.TypeA)); !m.Truncated || m.IsEdns0() != nil {
			t.Errorf("a client of 512 bytes got %v", m)
		}
		q := question("example.org", dns.TypeA)
		q.SetEdns0(4096, false)
		if m := b.ask("udp", q); m.Truncated || len(m.Answer) != 200 || m.IsEdns0() == nil {
			t.Errorf("a client of 4096 bytes got %d records, truncated %v", len(m.Answer), m.Truncated)
		}
		if m := b.ask("tcp", question("example.org", dns.TypeA)); m.Truncated || len(m.Answer) != 200 {
			t.Errorf("over TCP: %d records", len(m.Answer))
		}
	})
}

// An upstream that does not answer holds up neither names of the networks nor
// cached ones, and what is over the bound is refused at once.
func TestDeadUpstreamDelaysNobody(t *testing.T) {
	serveAt(t, "127.0.2.1", nil, func(*dns.Msg, dns.ResponseWriter) {})
	r := newResolver(t, Config{Servers: servers("127.0.2.1")})
	b := newBox(t, r, Client{})
	conn := b.dial("udp")
	for i := range maxClientForwards + 20 {
		packed, err := question(fmt.Sprintf("n%d.example", i), dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(packed); err != nil {
			t.Fatal(err)
		}
	}
	stream := &dns.Conn{Conn: b.dial("tcp")}
	if err := stream.WriteMsg(question("slow.example", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if err := stream.WriteMsg(question("web", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if m := b.ask("udp", question("web", dns.TypeA)); len(m.Answer) != 3 {
			t.Fatalf("a name of the network: %v", m)
		}
	}
	// Every query above still waits: the answers came past them.
	r.mu.Lock()
	waiting := len(r.flights)
	r.mu.Unlock()
	if waiting == 0 {
		t.Fatal("nothing waits for the dead server; the test shows nothing")
	}
	refused := 0
	for refused < 20 {
		m, err := (&dns.Conn{Conn: conn}).ReadMsg()
		if err != nil {
			t.Fatalf("after %d answers: %v", refused, err)
		}
		if m.Rcode == dns.RcodeServerFailure {
			refused++
		}
	}
	first, second := map[string]bool{}, 0
	for range 2 {
		m, err := stream.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if second++; second == 1 && m.Question[0].Name != "web." && m.Rcode != dns.RcodeServerFailure {
			t.Errorf("the first answer over TCP is %v", m)
		}
		first[m.Question[0].Name] = true
	}
	if len(first) != 2 {
		t.Errorf("answered over TCP: %v", first)
	}
}

func TestCacheAndFlights(t *testing.T) {
	hold := make(chan struct{})
	up := serveAt(t, "127.0.3.1", nil, func(q *dns.Msg, w dns.ResponseWriter) {
		<-hold
		if strings.HasPrefix(q.Question[0].Name, "nx") {
			m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
			m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60}, Ns: "a.", Mbox: "b.", Minttl: 30}}
			_ = w.WriteMsg(m)
			return
		}
		fixed("192.0.2.1", 60)(q, w)
	})
	b := newBox(t, newResolver(t, Config{Servers: servers("127.0.3.1")}), Client{})
	var wg sync.WaitGroup
	const many = 50
	for range many {
		wg.Go(func() {
			if got := text(b.ask("udp", question("example.org", dns.TypeA))); got != "NOERROR A 192.0.2.1" {
				t.Errorf("got %s", got)
			}
		})
	}
	for end := time.Now().Add(patience); len(b.r.clients["box"].forwards) < many && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	wg.Wait()
	if n := up.asked.Load(); n != 1 {
		t.Errorf("%d equal questions at once were asked %d times", many, n)
	}
	for range 3 {
		if m := b.ask("udp", question("nx.example", dns.TypeA)); m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 {
			t.Errorf("a name that does not exist: %v", m)
		}
	}
	if n := up.asked.Load(); n != 2 {
		t.Errorf("the server was asked %d times, want 2", n)
	}
}

// What is asked while no daemon serves waits for the next.
func TestQueriesWaitForTheNextDaemon(t *testing.T) {
	first := newResolver(t, Config{})
	b := newBox(t, first, Client{})
	first.Close()
	answers := make(chan *dns.Msg, 2)
	for _, network := range []string{"udp", "tcp"} {
		conn := &dns.Conn{Conn: b.dial(network)}
		if err := conn.WriteMsg(question("db", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		go func() {
			m, err := conn.ReadMsg()
			if err != nil {
				t.Errorf("%s: %v", network, err)
			}
			answers <- m
		}()
	}
	b.r = newResolver(t, Config{})
	b.serve(Client{ID: "box"})
	for range 2 {
		if m := <-answers; m == nil || text(m) != "NOERROR A 10.1.0.2" {
			t.Errorf("got %v", m)
		}
	}
}

// A container may serve port 53 itself, and rules of its own stay.
func TestContainerServesPort53(t *testing.T) {
	b := newBox(t, newResolver(t, Config{}), Client{})
	serveAt(t, "0.0.0.0", b.ns, fixed("192.0.2.53", 60))
	var conn net.Conn
	if err := netns.Do(b.ns, func() (err error) { conn, err = net.Dial("udp", "127.0.0.1:53"); return }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m, _, err := (&dns.Client{}).ExchangeWithConn(question("web", dns.TypeA), &dns.Conn{Conn: conn})
	if err != nil || text(m) != "NOERROR A 192.0.2.53" {
		t.Errorf("the container's own server: %v, %v", m, err)
	}
	if got := len(b.ask("udp", question("web", dns.TypeA)).Answer); got != 3 {
		t.Errorf("the resolver beside it gave %d addresses", got)
	}
}

// A container that leaves its networks and joins one again gets new sockets.
func TestOpenTwiceReplacesTheRedirection(t *testing.T) {
	r := newResolver(t, Config{})
	b := newBox(t, r, Client{})
	r.Stop("box")
	b.Sockets.Close()
	var err error
	if b.Sockets, err = Open(b.ns); err != nil {
		t.Fatal(err)
	}
	b.serve(Client{ID: "box"})
	if m := b.ask("udp", question("db", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("got %v", m)
	}
}

func TestOddPackets(t *testing.T) {
	b := newBox(t, newResolver(t, Config{Names: fakeNames{internal: true}}), Client{})
	conn := b.dial("udp")
	pack := func(change func(*dns.Msg)) []byte {
		m := question("web", dns.TypeA)
		m.Id = 7
		change(m)
		raw, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	whole := pack(func(*dns.Msg) {})
	cases := []struct {
		name  string
		raw   []byte
		rcode int // -1 = no answer
	}{
		{"empty", nil, -1},
		{"short", whole[:headerSize-1], -1},
		{"an answer", pack(func(m *dns.Msg) { m.Response = true }), -1},
		{"cut", whole[:headerSize+2], dns.RcodeFormatError},
		{"no question", pack(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		{"two questions", pack(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		{"update", pack(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		{"zone transfer", pack(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		{"chaos", pack(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		{"EDNS of another version", pack(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		{"endless name", append(bytes.Clone(whole[:headerSize]), 0xc0, headerSize, 0, 1, 0, 1), dns.RcodeFormatError},
		{"longer than a query", append(bytes.Clone(whole), make([]byte, 4000)...), dns.RcodeSuccess},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := conn.Write(c.raw); err != nil {
				t.Fatal(err)
			}
			marker := pack(func(m *dns.Msg) { m.Id = 8 })
			if _, err := conn.Write(marker); err != nil {
				t.Fatal(err)
			}
			got := -1
			for {
				m, err := (&dns.Conn{Conn: conn, UDPSize: 4096}).ReadMsg()
				if err != nil && m == nil {
					t.Fatal(err)
				}
				if m.Id == 8 {
					break
				}
				got = m.Rcode
			}
			if got != c.rcode {
				t.Errorf("rcode %d, want %d", got, c.rcode)
			}
		})
	}
	tcp := b.dial("tcp")
	if _, err := tcp.Write([]byte{0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if n, err := tcp.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("a message of 64 KiB is waited for")
	}
}

// Thousands of broken packets, from a fixed seed, stop nothing and leave nothing
// under way.
func TestBrokenPackets(t *testing.T) {
	serveAt(t, "127.0.4.1", nil, fixed("192.0.2.1", 60))
	b := newBox(t, newResolver(t, Config{Servers: servers("127.0.4.1")}), Client{})
	random := rand.New(rand.NewPCG(1, 2))
	seed := question("web", dns.TypeA)
	seed.SetEdns0(1232, true)
	whole, err := seed.Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn := b.dial("udp")
	for i := range counts.Of("dns.packets") {
		packet := bytes.Clone(whole)
		for range 1 + random.IntN(6) {
			packet[random.IntN(len(packet))] = byte(random.Uint32())
		}
		packet = packet[:random.IntN(len(packet)+1)]
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			if m := b.ask("udp", question("web", dns.TypeA)); len(m.Answer) != 3 {
				t.Fatalf("after %d packets: %v", i, m)
			}
			stream := b.dial("tcp")
			_, _ = stream.Write(append([]byte{0, byte(len(packet))}, packet...))
			stream.Close()
		}
	}
	c := b.r.clients["box"]
	for end := time.Now().Add(patience); len(c.forwards) > 0 || len(c.conns) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d queries and %d connections are still open", len(c.forwards), len(c.conns))
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, name := range []string{"web.", "1.0.1.10.in-addr.arpa.", "example.org."} {
		m := question(name, dns.TypeA)
		m.SetEdns0(1232, true)
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	r := New(Config{Names: fakeNames{internal: true}})
	c := &client{Client: Client{ID: "box"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, stream := range []bool{false, true} {
			r.handle(c, b, stream, func(answer []byte) {
				if answer == nil {
					return
				}
				if len(b) < headerSize || len(answer) < headerSize || binary.BigEndian.Uint16(answer) != binary.BigEndian.Uint16(b) {
					t.Errorf("%x answers %x", answer, b)
				}
				if err := new(dns.Msg).Unpack(answer); err != nil {
					t.Errorf("%x does not parse: %v", answer, err)
				}
				if !stream && len(answer) > maxSize {
					t.Errorf("%d bytes over UDP", len(answer))
				}
			})
		}
	})
}

// FuzzAnswer plays a hostile upstream server.
func FuzzAnswer(f *testing.F) {
	q, _ := parse(func() []byte { b, _ := question("example.org", dns.TypeA).Pack(); return b }())
	raw, err := new(dns.Msg).SetReply(q.Msg).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		answers(m, q.Msg)
		var c cache
		now := time.Unix(1, 0)
		c.put(q.key(0), m, now)
		if again, ok := c.get(q.key(0), now.Add(time.Second)); ok {
			m = again
		}
		if packed := q.pack(q.adopt(m)); new(dns.Msg).Unpack(packed) != nil || len(packed) > minSize {
			t.Errorf("%x is handed on as %x", b, packed)
		}
	})
}
