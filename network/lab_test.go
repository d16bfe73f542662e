package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/state"
)

// The tests run in a network namespace of their own, so that the host's links
// and rules stay as they are. "Containers" and "other machines" are further
// namespaces; what runs in them are sockets of the test process.
func TestMain(m *testing.M) {
	const inside = "SAMPAN_NETWORK_TEST_NAMESPACE"
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		fmt.Println("skipped: the network tests make namespaces, links and rules and need root")
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

const (
	// patience is for connections that must succeed; only a failing test waits.
	patience = 5 * time.Second
	// refusal is how long an unanswered connection is given.
	refusal = 300 * time.Millisecond
)

// lab is the host: the namespace of the tests, with nothing in it but lo.
type lab struct {
	t     *testing.T
	store *state.Store
	log   *logBuffer
	ids   int
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newLab starts from a clean host and checks at the end that it is clean again.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, log: &logBuffer{}}
	conn, err := netlink.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Do(netlink.SetUp("lo")); err != nil {
		t.Fatal(err)
	}
	l.openStore(filepath.Join(t.TempDir(), "state.db"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the service:\n%s", l.log)
		}
		l.run("nft", "flush", "ruleset")
		// Links end with their namespaces, a little later.
		for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			links := l.run("ip", "-o", "link")
			rules := l.run("nft", "list", "ruleset")
			if strings.Count(links, "\n") == 1 && rules == "" {
				return
			}
			if time.Now().After(end) {
				t.Errorf("left behind:\n%s%s", links, rules)
				return
			}
		}
	})
	return l
}

func (l *lab) openStore(path string) {
	l.t.Helper()
	var err error
	if l.store, err = state.Open(path); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.store.Close() })
}

func (l *lab) config() Config {
	cfg := DefaultConfig()
	cfg.Log = slog.New(slog.NewTextHandler(l.log, nil))
	return cfg
}

// service starts a service, which the end of the test closes.
func (l *lab) service(cfg Config) *Service {
	l.t.Helper()
	s, err := New(context.Background(), cfg, l.store)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		for id := range s.sandboxes {
			if err := s.Leave(context.Background(), id); err != nil {
				l.t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return s
}

// container joins a container that lives until the end of the test.
func (l *lab) container(s *Service, ports ...PortRequest) *Sandbox {
	l.t.Helper()
	l.ids++
	sb, err := s.Join(context.Background(), JoinRequest{ContainerID: fmt.Sprintf("%064x", l.ids), Name: fmt.Sprintf("c%d", l.ids), Ports: ports})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(sb.Close)
	return sb
}

func (l *lab) run(name string, args ...string) string {
	l.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// in runs a command in a namespace.
func (l *lab) in(ns *os.File, name string, args ...string) string {
	l.t.Helper()
	var out string
	if err := netns.Do(ns, func() error { out = l.run(name, args...); return nil }); err != nil {
		l.t.Fatal(err)
	}
	return out
}

// machine makes another machine on a wire to the host: 192.0.2.1 is the host,
// 192.0.2.2 the machine, with the IPv6 addresses fd00:2::1 and ::2.
func (l *lab) machine() *os.File {
	l.t.Helper()
	ns, err := netns.New(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { ns.Close() })
	pid := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	l.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", pid)
	l.run("ip", "addr", "add", "192.0.2.1/24", "dev", "wire")
	l.run("ip", "addr", "add", "fd00:2::1/64", "dev", "wire", "nodad")
	l.run("ip", "link", "set", "wire", "up")
	l.in(ns, "ip", "link", "set", "lo", "up")
	l.in(ns, "ip", "addr", "add", "192.0.2.2/24", "dev", "wire")
	l.in(ns, "ip", "addr", "add", "fd00:2::2/64", "dev", "wire", "nodad")
	l.in(ns, "ip", "link", "set", "wire", "up")
	l.t.Cleanup(func() { l.run("ip", "link", "del", "wire") })
	return ns
}

// serve answers on the address inside ns (nil = the host): each connection or
// datagram gets the peer's address as it is seen there.
func (l *lab) serve(ns *os.File, network, addr string) {
	l.t.Helper()
	do := func(f func() error) error {
		if ns == nil {
			return f()
		}
		return netns.Do(ns, f)
	}
	err := do(func() error {
		if strings.HasPrefix(network, "udp") {
			pc, err := net.ListenPacket(network, addr)
			if err != nil {
				return err
			}
			l.t.Cleanup(func() { pc.Close() })
			go func() {
				buf := make([]byte, 1500)
				for {
					_, from, err := pc.ReadFrom(buf)
					if err != nil {
						return
					}
					pc.WriteTo([]byte(from.String()), from)
				}
			}()
			return nil
		}
		ln, err := net.Listen(network, addr)
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, c.RemoteAddr().String())
				c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// ask connects from ns (nil = the host) and returns what the server answered.
func (l *lab) ask(ns *os.File, network, addr string, wait time.Duration) (string, error) {
	var answer string
	f := func() error {
		c, err := net.DialTimeout(network, addr, wait)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(wait))
		if strings.HasPrefix(network, "udp") {
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
		}
		buf := make([]byte, 1500)
		n, err := c.Read(buf)
		answer = string(buf[:n])
		return err
	}
	var err error
	if ns == nil {
		err = f()
	} else {
		err = netns.Do(ns, f)
	}
	return answer, err
}

// reaches fails the test unless the server answers; it returns the address the
// server saw.
func (l *lab) reaches(what string, ns *os.File, network, addr string) netip.Addr {
	l.t.Helper()
	got, err := l.ask(ns, network, addr, patience)
	if err != nil {
		l.t.Errorf("%s: %s %s must answer: %v", what, network, addr, err)
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(got)
	if err != nil {
		l.t.Errorf("%s: %s %s answered %q", what, network, addr, got)
	}
	return ap.Addr().Unmap()
}

func (l *lab) blocked(what string, ns *os.File, network, addr string) {
	l.t.Helper()
	if got, err := l.ask(ns, network, addr, refusal); err == nil {
		l.t.Errorf("%s: %s %s must not answer, but the server saw %s", what, network, addr, got)
	}
}

func at(sb *Sandbox, port int) string {
	return fmt.Sprintf("%s:%d", sb.Joined.Endpoints[0].IP.Addr(), port)
}
