package network

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGoldenRules compares the table with its golden text, as nft prints it.
func TestGoldenRules(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Config)
	}{
		{"default", func(*Config) {}},
		{"no-icc-no-masquerade", func(c *Config) { c.ICC, c.IPMasq, c.Bridge, c.BIP = false, false, "br-x.1", "10.9.0.1/24" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.machine()
			cfg := l.config()
			c.change(&cfg)
			s := l.service(cfg)
			l.container(s, tcp(8080, 80), on("192.0.2.1", tcp(8082, 80)), PortRequest{Proto: "udp", HostPortFirst: 5300, ContainerPort: 53})
			table := "sampan0"
			if cfg.Bridge != "" {
				table = "sampan-" + cfg.Bridge
			}
			got := l.run("nft", "list", "table", "inet", table)
			// The owner's name is the test program's.
			got = strings.ReplaceAll(got, "# progname "+filepath.Base(os.Args[0]), "# progname sampand")
			golden := filepath.Join("testdata", c.name+".nft")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !keepsTables() {
				want = bytes.Replace(want, []byte(" # progname sampand\n\tflags owner\n\n"), []byte("\n"), 1)
			}
			if got != string(want) {
				t.Errorf("the table is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// keepsTables says whether this kernel knows tables that outlive their owner; Sampan
// owns no others.
func keepsTables() bool {
	var name unix.Utsname
	var major, minor int
	_ = unix.Uname(&name)
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 6 || major == 6 && minor >= 9)
}

// eventually waits for what happens in reaction to an event.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// TestFlushRuleset: somebody reloads the host's firewall.
func TestFlushRuleset(t *testing.T) {
	l := newLab(t)
	outside := l.machine()
	s := l.service(l.config())
	web := l.container(s, tcp(8080, 80), on("127.0.0.1", tcp(8081, 80)))
	l.serve(web.NetNS, "tcp4", ":80")
	l.in(outside, "ip", "route", "add", "172.17.0.0/16", "via", "192.0.2.1")
	before := l.run("nft", "list", "table", "inet", "sampan0")
	l.run("nft", "flush", "ruleset")
	eventually(t, "the table is there after a flush", func() bool {
		return strings.Contains(l.run("nft", "list", "ruleset"), "table inet sampan0")
	})
	if after := l.run("nft", "list", "table", "inet", "sampan0"); after != before {
		t.Errorf("the table changed:\n%s\nwas\n%s", after, before)
	}
	l.reaches("published port after a flush", outside, "tcp4", "192.0.2.1:8080")
	l.blocked("unpublished address after a flush", outside, "tcp4", at(web, 80))
	l.blocked("port published on 127.0.0.1 after a flush", outside, "tcp4", "192.0.2.1:8081")
}

// TestForeignFirewall: another program drops forwarded traffic.
func TestForeignFirewall(t *testing.T) {
	dockerRules := [][]string{
		{"-P", "FORWARD", "DROP"}, {"-N", "DOCKER-USER"}, {"-A", "DOCKER-USER", "-j", "RETURN"}, {"-A", "FORWARD", "-j", "DOCKER-USER"},
		{"-A", "FORWARD", "-o", "docker0", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"},
		{"-A", "FORWARD", "-i", "docker0", "!", "-o", "docker0", "-j", "ACCEPT"},
	}
	cases := []struct {
		name  string
		rules [][]string // of iptables-nft
		nft   string
		list  string // the chain in which our rules must stand
	}{
		{name: "docker.io", rules: dockerRules, list: "FORWARD"},
		{name: "ufw with REJECT", rules: [][]string{
			{"-P", "FORWARD", "DROP"}, {"-N", "ufw-reject-forward"}, {"-A", "ufw-reject-forward", "-j", "REJECT"}, {"-A", "FORWARD", "-j", "ufw-reject-forward"},
		}, list: "FORWARD"},
		{name: "trailing REJECT", rules: [][]string{{"-A", "FORWARD", "-j", "REJECT", "--reject-with", "icmp-host-prohibited"}}, list: "FORWARD"},
		{name: "nftables policy", nft: "table inet filter { chain forward { type filter hook forward priority 0; policy drop; ct state established accept; }\n}\n"},
		{name: "nftables reject", nft: "table inet filter { chain end { log prefix \"x\" reject with icmpx type admin-prohibited; }\nchain forward { type filter hook forward priority 10; ip saddr 10.0.0.0/8 drop; goto end; }\n}\n"},
	}
	for _, c := range cases {
		for _, order := range []string{"before", "after"} {
			t.Run(c.name+" "+order, func(t *testing.T) {
				l := newLab(t)
				outside := l.machine()
				apply := func() {
					for _, r := range c.rules {
						l.run("iptables-nft", r...)
					}
					if c.nft != "" {
						file := filepath.Join(t.TempDir(), "rules")
						if err := os.WriteFile(file, []byte(c.nft), 0o600); err != nil {
							t.Fatal(err)
						}
						l.run("nft", "-f", file)
					}
				}
				if order == "before" {
					apply()
				}
				s := l.service(l.config())
				web := l.container(s, tcp(8080, 80))
				other := l.container(s)
				l.serve(web.NetNS, "tcp4", ":80")
				l.serve(outside, "tcp4", ":9000")
				if order == "after" {
					apply()
				}
				ours := func() bool {
					return strings.Count(l.run("nft", "list", "ruleset"), "sampan: let sampan0 through") == 2
				}
				eventually(t, "accept rules in the other chain", ours)
				l.reaches("container to container", other.NetNS, "tcp4", at(web, 80))
				l.reaches("container to outside", other.NetNS, "tcp4", "192.0.2.2:9000")
				l.reaches("outside to published port", outside, "tcp4", "192.0.2.1:8080")
				if c.list != "" {
					listing := l.run("iptables-nft", "-S", c.list)
					for _, want := range []string{`-A FORWARD -i sampan0 -m comment --comment "sampan: let sampan0 through" -j ACCEPT`, `-A FORWARD -o sampan0 -m comment --comment "sampan: let sampan0 through" -j ACCEPT`} {
						if !strings.Contains(listing, want) {
							t.Errorf("iptables -S shows\n%s\nwithout %q", listing, want)
						}
					}
					l.run("iptables-nft-save")
					// A reload of that firewall takes our rules with it.
					l.run("iptables-nft", "-F", "FORWARD")
					for _, r := range c.rules {
						if r[0] == "-A" && r[1] == "FORWARD" {
							l.run("iptables-nft", r...)
						}
					}
					eventually(t, "accept rules after a reload", ours)
					l.reaches("outside to published port after a reload", outside, "tcp4", "192.0.2.1:8080")
				}
			})
		}
	}
}

// TestUserDropHolds: a DROP that the user wrote for the bridge stays in force,
// beside our accept rules and across a restart of the daemon (SECURITY.md N7).
func TestUserDropHolds(t *testing.T) {
	l := newLab(t)
	outside := l.machine()
	l.run("iptables-nft", "-P", "FORWARD", "DROP")
	l.run("iptables-nft", "-A", "FORWARD", "-s", "192.0.2.2", "-o", "sampan0", "-j", "DROP")
	for range 2 {
		s, err := New(context.Background(), l.config(), l.store)
		if err != nil {
			t.Fatal(err)
		}
		web := l.container(s, tcp(8080, 80))
		l.serve(web.NetNS, "tcp4", ":80")
		l.blocked("what the user dropped", outside, "tcp4", "192.0.2.1:8080")
		l.reaches("what the user did not drop", nil, "tcp4", "192.0.2.1:8080")
		for id := range s.sandboxes {
			if err := s.Leave(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
		web.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if rules := l.run("nft", "list", "ruleset"); strings.Contains(rules, "sampan: ") || strings.Contains(rules, "table inet") {
			t.Errorf("rules left after Close:\n%s", rules)
		}
	}
}

// TestNoUserRulesNoChange: a chain that drops nothing is left alone.
func TestNoUserRulesNoChange(t *testing.T) {
	l := newLab(t)
	l.run("iptables-nft", "-A", "FORWARD", "-s", "10.0.0.0/8", "-j", "DROP")
	before := l.run("nft", "list", "table", "ip", "filter")
	l.service(l.config())
	if after := l.run("nft", "list", "table", "ip", "filter"); after != before {
		t.Errorf("the chain changed:\n%s\nwas\n%s", after, before)
	}
}

// TestDocumentedRules: docs/networking.md shows the table as it is.
func TestDocumentedRules(t *testing.T) {
	doc, err := os.ReadFile("../docs/networking.md")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "default.nft"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(string(golden), " # progname sampand", "", 1); !strings.Contains(string(doc), want) {
		t.Error("docs/networking.md does not hold testdata/default.nft: put it there")
	}
}
