package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/lab"
)

// What these tests need not every kernel has: `make test-vm` runs them on Debian's.

// sctpPort is published, and served in the container at attackedPort.
const sctpPort = 18950

// sctpSocket makes a one-to-one socket of SCTP bound to an address; the error is
// EPROTONOSUPPORT where the kernel has none.
func sctpSocket(local netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(lab.Scale(3 * time.Second).Nanoseconds())
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(local.Port()), Addr: local.Addr().As4()}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// serveSCTP answers each association of a place with what it says.
func serveSCTP(t *testing.T, p lab.Place, at netip.AddrPort) {
	t.Helper()
	err := p.Do(func() error {
		fd, err := sctpSocket(at)
		if err != nil {
			return err
		}
		forever := unix.Timeval{}
		if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &forever), unix.Listen(fd, 8)); err != nil {
			return err
		}
		t.Cleanup(func() { _ = unix.Shutdown(fd, unix.SHUT_RDWR); unix.Close(fd) })
		go func() {
			buf := make([]byte, 64)
			for {
				c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
				if err != nil {
					return
				}
				if n, err := unix.Read(c, buf); err == nil {
					_, _ = unix.Write(c, buf[:n])
				}
				unix.Close(c)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asksSCTP tells whether such a server answers a place that speaks from an address.
func asksSCTP(p lab.Place, from netip.Addr, to netip.AddrPort) error {
	return p.Do(func() error {
		fd, err := sctpSocket(netip.AddrPortFrom(from, 0))
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		if _, err := unix.Write(fd, []byte("hello")); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		buf := make([]byte, 16)
		n, err := unix.Read(fd, buf)
		if err != nil || string(buf[:n]) != "hello" {
			return fmt.Errorf("the answer is %q, %v", buf[:max(n, 0)], err)
		}
		return nil
	})
}

// TestSCTP: a port published for SCTP is reached by the host and by another machine,
// its container by its neighbours and by nobody else, and an end of the publication is one.
func TestSCTP(t *testing.T) {
	fd, err := sctpSocket(netip.MustParseAddrPort("127.0.0.1:0"))
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skip("this kernel has no SCTP (module sctp)")
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	d := start(t)
	far := lab.Machine(t, "192.0.2.1/24", "192.0.2.2/24").Place(t)
	here := lab.Here(t)
	d.Sampan("network", "create", "--subnet", "10.96.0.0/24", "shared").Must(t)
	d.Sampan("network", "create", "--subnet", "10.97.0.0/24", "other").Must(t)
	run := func(name, network, ip string, flags ...string) lab.Place {
		args := append([]string{"run", "-d", "--name", name, "--stop-timeout", "0", "--network", network, "--ip", ip}, flags...)
		d.Sampan(append(args, busybox, "sleep", "1000")...).Must(t)
		return d.Inside(name)
	}
	server := run("server", "shared", "10.96.0.10", "-p", fmt.Sprintf("%d:%d/sctp", sctpPort, attackedPort))
	peer, stranger := run("peer", "shared", "10.96.0.11"), run("stranger", "other", "10.97.0.10")
	serveSCTP(t, server, netip.MustParseAddrPort(fmt.Sprintf("10.96.0.10:%d", attackedPort)))

	direct := netip.MustParseAddrPort(fmt.Sprintf("10.96.0.10:%d", attackedPort))
	published := netip.MustParseAddrPort(fmt.Sprintf("192.0.2.1:%d", sctpPort))
	for _, c := range []struct {
		what string
		from lab.Place
		ip   string
		to   netip.AddrPort
		ok   bool
	}{
		{"a neighbour", peer, "10.96.0.11", direct, true},
		{"the host", here, "10.96.0.1", direct, true},
		{"another machine by the published port", far, "192.0.2.2", published, true},
		{"another network", stranger, "10.97.0.10", direct, false},
	} {
		if err := asksSCTP(c.from, netip.MustParseAddr(c.ip), c.to); (err == nil) != c.ok {
			t.Errorf("%s: answered %v (%v), want %v", c.what, err == nil, err, c.ok)
		}
	}
	if r := d.Sampan("run", "--rm", "-p", fmt.Sprintf("%d:1/sctp", sctpPort), busybox, "true"); r.Code == 0 {
		t.Error("the port is published twice")
	}
	d.Sampan("port", "rm", "server", fmt.Sprintf("%d:%d/sctp", sctpPort, attackedPort)).Must(t)
	if err := asksSCTP(far, netip.MustParseAddr("192.0.2.2"), published); err == nil {
		t.Error("the port is reached after its end")
	}
}

// TestMacvlanOfAVLAN: a network on a sub-interface (-o parent=cable0.20) makes it, its
// containers speak with that VLAN of the wire and no other, and it goes with the network.
func TestMacvlanOfAVLAN(t *testing.T) {
	far := lab.Machine(t, "192.0.2.1/24", "192.0.2.2/24").Place(t)
	err := far.Do(func() error {
		wire, err := netlink.LinkByName("cable1")
		if err != nil {
			return err
		}
		for id, address := range map[int]string{20: "10.98.0.2/24", 21: "10.99.0.2/24"} {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.ParentIndex = fmt.Sprint("cable1.", id), wire.Attrs().Index
			link := &netlink.Vlan{LinkAttrs: attrs, VlanId: id}
			if err := netlink.LinkAdd(link); err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(address)
			if err != nil {
				return err
			}
			if err := errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link)); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no VLANs (module 8021q)")
	}
	if err != nil {
		t.Fatal(err)
	}
	far.Serve(t, attackedPort)
	d := start(t)
	d.Sampan("network", "create", "-d", "macvlan", "--subnet", "10.98.0.0/24", "-o", "parent=cable0.20", "twenty").Must(t)
	d.Sampan("network", "create", "-d", "macvlan", "--subnet", "10.99.0.0/24", "-o", "parent=cable0.21", "twentyone").Must(t)
	place := map[string]lab.Place{}
	for name, ip := range map[string]string{"twenty": "10.98.0.10", "twentyone": "10.99.0.10"} {
		d.Sampan("run", "-d", "--name", name, "--stop-timeout", "0", "--network", name, "--ip", ip, busybox, "sleep", "1000").Must(t)
		place[name] = d.Inside(name)
		place[name].Serve(t, attackedPort)
	}
	succeed(t, "on their VLANs", append(both("VLAN 20", place["twenty"], "10.98.0.2", attackedPort), both("VLAN 21", place["twentyone"], "10.99.0.2", attackedPort)...))
	succeed(t, "from the wire", append(both("VLAN 20", far, "10.98.0.10", attackedPort), both("VLAN 21", far, "10.99.0.10", attackedPort)...))
	// The address of the other VLAN, as if it were on this one's wire: nobody answers.
	place["twenty"].Run(t, "ip", "route", "add", "10.99.0.0/24", "dev", "eth0").Must(t)
	fail(t, "across", both("the other VLAN", place["twenty"], "10.99.0.10", attackedPort))

	d.Kill()
	d.Restart()
	succeed(t, "after a restart of the daemon", both("VLAN 20", place["twenty"], "10.98.0.2", attackedPort))
	d.Sampan("rm", "-f", "twenty", "twentyone").Must(t)
	d.Sampan("network", "rm", "twenty", "twentyone").Must(t)
	lab.Eventually(t, 10*time.Second, "the sub-interfaces go with their networks", func() bool {
		_, err20 := netlink.LinkByName("cable0.20")
		_, err21 := netlink.LinkByName("cable0.21")
		return err20 != nil && err21 != nil
	})
}
