package firewall

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests run in a network namespace of their own.
func TestMain(m *testing.M) {
	if dir := os.Getenv(claimEnv); dir != "" {
		holdClaim(dir)
	}
	const inside = "SAMPAN_FIREWALL_TEST_NAMESPACE"
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		fmt.Println("skipped: the firewall tests need root for a network namespace")
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

func config() Config {
	return Config{Name: "sampan0", Log: slog.New(slog.DiscardHandler)}
}

func networks() []Network {
	return []Network{{Bridge: "sampan0", Subnets: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}, ICC: true, Masquerade: true}}
}

func mapping(host string, port uint16) Mapping {
	return Mapping{unix.IPPROTO_TCP, netip.MustParseAddr(host), port, netip.MustParseAddrPort("172.17.0.2:80")}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// TestWithoutOwnership is how kernels before 6.9 behave: the table is not
// protected, so it is watched and put back.
func TestWithoutOwnership(t *testing.T) {
	tab, err := open(config(), networks(), []Mapping{mapping("0.0.0.0", 8080)}, []uint32{0})
	if err != nil {
		t.Fatal(err)
	}
	if tab.Owned() {
		t.Error("a table without flags counts as owned")
	}
	list := func() string {
		var all []byte
		for _, name := range []string{"sampan0", UserTable} { // a table put back is listed last
			out, _ := exec.Command("nft", "list", "table", "inet", name).Output()
			all = append(all, out...)
		}
		return string(all)
	}
	want := list()
	for _, damage := range [][]string{
		{"flush", "ruleset"}, {"delete", "table", "inet", "sampan0"}, {"flush", "table", "inet", "sampan0"}, {"flush", "chain", "inet", "sampan0", "forward"},
	} {
		run(t, "nft", damage...)
		eventually(t, strings.Join(damage, " "), func() bool { return list() == want })
	}
	// Ports come and go though the table is gone at that moment.
	run(t, "nft", "flush", "ruleset")
	if err := tab.Publish([]Mapping{mapping("127.0.0.1", 8081)}); err != nil {
		t.Fatal(err)
	}
	if got := list(); !strings.Contains(got, "8080") || !strings.Contains(got, "8081") {
		t.Errorf("after Publish into a flushed ruleset:\n%s", got)
	}
	run(t, "nft", "flush", "ruleset")
	if err := tab.Unpublish([]Mapping{mapping("127.0.0.1", 8081), mapping("127.0.0.1", 9999)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Unpublish", func() bool { return list() == want })
	if err := tab.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "nft", "list", "ruleset"); got != "" {
		t.Errorf("left after Remove:\n%s", got)
	}
	tab.Close()
}

// TestManyPorts: thousands of ports fit, at once and one by one, and the next
// daemon takes them over.
func TestManyPorts(t *testing.T) {
	var all []Mapping
	for p := range uint16(5000) {
		all = append(all, mapping("0.0.0.0", 10000+p), mapping("127.0.0.1", 20000+p))
	}
	first, err := Open(config(), networks(), all)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Publish([]Mapping{mapping("0.0.0.0", 80)}); err != nil {
		t.Fatal(err)
	}
	count := func() int { return strings.Count(run(t, "nft", "list", "table", "inet", "sampan0"), "172.17.0.2 . 80") }
	if got := count(); got != len(all)+1 {
		t.Errorf("ports in the table = %d, want %d", got, len(all)+1)
	}
	first.Close()
	if got := count(); got != len(all)+1 {
		t.Errorf("ports after the end of the daemon = %d, want %d", got, len(all)+1)
	}
	second, err := Open(config(), networks(), all[:100])
	if err != nil {
		t.Fatal(err)
	}
	if got := count(); got != 100 {
		t.Errorf("ports of the next daemon = %d, want 100", got)
	}
	if err := second.Unpublish(all); err != nil {
		t.Fatal(err)
	}
	if err := second.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "nft", "list", "ruleset"); got != "" {
		t.Errorf("left after Remove:\n%s", got)
	}
}

// TestForgetFlows: a client that sent before the port was published.
func TestForgetFlows(t *testing.T) {
	tab, err := Open(config(), networks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Remove()
	run(t, "ip", "link", "set", "lo", "up")
	entries := func() int {
		b, err := os.ReadFile("/proc/net/nf_conntrack")
		if err != nil {
			t.Skipf("tracked connections cannot be read: %v", err)
		}
		return strings.Count(string(b), "dport=5300")
	}
	conn, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(conn)
	if err := unix.Sendto(conn, []byte("x"), 0, &unix.SockaddrInet4{Port: 5300, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if entries() == 0 {
		t.Fatal("the datagram is not tracked")
	}
	udp := mapping("127.0.0.2", 5300)
	udp.Proto = unix.IPPROTO_UDP
	if err := tab.Publish([]Mapping{udp}); err != nil {
		t.Fatal(err)
	}
	if entries() == 0 {
		t.Error("a flow to another address was forgotten")
	}
	udp.HostIP = netip.MustParseAddr("127.0.0.1")
	if err := tab.Publish([]Mapping{udp}); err != nil {
		t.Fatal(err)
	}
	if n := entries(); n != 0 {
		t.Errorf("%d flows from before the port was published are left", n)
	}
}

// TestLegacyWarning uses the real iptables-legacy.
func TestLegacyWarning(t *testing.T) {
	if _, err := exec.LookPath("iptables-legacy"); err != nil {
		t.Skip("iptables-legacy is not installed")
	}
	if out, err := exec.Command("iptables-legacy", "-P", "FORWARD", "ACCEPT").CombinedOutput(); err != nil {
		t.Skipf("the kernel has no legacy iptables: %s", out)
	}
	defer run(t, "iptables-legacy", "-P", "FORWARD", "ACCEPT")
	defer run(t, "iptables-legacy", "-F", "FORWARD")
	if w := LegacyWarning([]string{"sampan0"}); w != "" {
		t.Errorf("policy ACCEPT: %q", w)
	}
	run(t, "iptables-legacy", "-P", "FORWARD", "DROP")
	w := LegacyWarning([]string{"sampan0"})
	_, command, ok := strings.Cut(w, "run: ")
	if !ok {
		t.Fatalf("policy DROP: %q names no command", w)
	}
	run(t, "sh", "-c", command)
	if w := LegacyWarning([]string{"sampan0"}); w != "" {
		t.Errorf("after the command it names: %q", w)
	}
	if w := LegacyWarning([]string{"sampan0", "sampan1"}); !strings.Contains(w, "-i sampan1") || strings.Contains(w, "-i sampan0") {
		t.Errorf("another bridge is not let through: %q", w)
	}
}

func FuzzForeignRule(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 'l', 'o', 'g', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := foreignRule{always: true}
		r.add(b)
		tupleDestination(b)
		structural(b)
	})
}

func FuzzLegacy(f *testing.F) {
	f.Add(make([]byte, 400), uint32(0))
	f.Fuzz(func(t *testing.T, table []byte, forward uint32) { parseLegacy(table, forward) })
}

// TestNetworks: networks come and go as elements, with their rules in effect of
// both address families, and survive a table that somebody took away.
func TestNetworks(t *testing.T) {
	tab, err := open(config(), nil, nil, []uint32{0})
	if err != nil {
		t.Fatal(err)
	}
	empty := run(t, "nft", "list", "table", "inet", "sampan0")
	var all []Network
	for i := range 40 {
		n := Network{
			Bridge: fmt.Sprintf("br-%d", i), ICC: i%2 == 0, Masquerade: i%3 == 0, Internal: i%5 == 0, Routed6: i%7 == 0, Unprotected: i%11 == 0,
			Subnets: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i)), netip.MustParsePrefix(fmt.Sprintf("fd00:0:0:%x::/64", i))},
		}
		if err := tab.AddNetwork(n); err != nil {
			t.Fatalf("network %d: %v", i, err)
		}
		all = append(all, n)
	}
	to6 := netip.MustParseAddrPort("[fd00:0:0:1::2]:80")
	ports := []Mapping{
		{unix.IPPROTO_TCP, netip.IPv6Unspecified(), 8080, to6}, {unix.IPPROTO_UDP, netip.MustParseAddr("fd00:9::1"), 53, to6},
		{unix.IPPROTO_SCTP, netip.Addr{}, 9, to6}, mapping("0.0.0.0", 8080),
	}
	if err := tab.Publish(ports); err != nil {
		t.Fatal(err)
	}
	full := run(t, "nft", "list", "table", "inet", "sampan0")
	for _, want := range []string{`"br-39"`, `"br-2" . "br-2"`, `"br-1" . fd00:0:0:1::/64`, `10.0.3.0/24`, "tcp . 8080 : fd00:0:0:1::2 . 80",
		"fd00:9::1 . udp . 53 : fd00:0:0:1::2 . 80", "fd00:0:0:1::2 . sctp . 80"} {
		if !strings.Contains(full, want) {
			t.Errorf("the table lacks %q", want)
		}
	}
	if err := tab.AddNetwork(all[3]); err != nil {
		t.Errorf("a network twice: %v", err)
	}
	run(t, "nft", "delete", "table", "inet", "sampan0")
	eventually(t, "the table with its networks", func() bool {
		out, _ := exec.Command("nft", "list", "table", "inet", "sampan0").Output()
		return len(out) == len(full)
	})
	if err := tab.Unpublish(ports); err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if err := tab.RemoveNetwork(n.Bridge); err != nil {
			t.Fatal(err)
		}
	}
	if got := run(t, "nft", "list", "table", "inet", "sampan0"); got != empty {
		t.Errorf("left of the networks:\n%s", got)
	}
	if err := tab.Remove(); err != nil {
		t.Fatal(err)
	}
}

// TestUserTable: the admin's rules are never touched.
func TestUserTable(t *testing.T) {
	tab, err := Open(config(), networks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "nft", "add", "rule", "inet", UserTable, "forward", "ip", "saddr", "192.0.2.9", "drop")
	defer run(t, "nft", "delete", "table", "inet", UserTable)
	before := run(t, "nft", "list", "table", "inet", UserTable)
	if err := tab.Remove(); err != nil {
		t.Fatal(err)
	}
	if tab, err = Open(config(), networks(), nil); err != nil {
		t.Fatal(err)
	}
	if after := run(t, "nft", "list", "table", "inet", UserTable); after != before {
		t.Errorf("the user's table is now\n%s", after)
	}
	if err := tab.Remove(); err != nil {
		t.Fatal(err)
	}
}
