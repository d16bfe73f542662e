package netlink

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace moves the test to a thread in a namespace of its own; the thread
// ends with the test.
func inNamespace(t *testing.T) *Conn {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestLinksAndAddresses(t *testing.T) {
	c := inNamespace(t)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	if err := c.Do(CreateBridge("br0", mac, 1400), SetAlias("br0", "mine")); err != nil {
		t.Fatal(err)
	}
	l, err := c.LinkByName("br0")
	if err != nil {
		t.Fatal(err)
	}
	if l.Kind != "bridge" || l.Alias != "mine" || l.MAC.String() != mac.String() || l.MTU != 1400 || l.Up() {
		t.Errorf("link = %+v", l)
	}
	addr := netip.MustParsePrefix("10.9.0.1/24")
	if err := c.Do(SetUpIndex(l.Index), AddAddr(l.Index, addr), AddDefaultRoute(l.Index, netip.MustParseAddr("10.9.0.254"))); err != nil {
		t.Fatal(err)
	}
	var addrs []netip.Prefix
	if err := c.Addrs(func(a Addr) { addrs = append(addrs, a.Prefix) }); err != nil || len(addrs) != 1 || addrs[0] != addr {
		t.Errorf("addresses = %v, %v", addrs, err)
	}
	var routes []netip.Prefix
	if err := c.Routes(func(dst netip.Prefix, index int) { routes = append(routes, dst) }); err != nil || len(routes) != 1 || routes[0] != addr.Masked() {
		t.Errorf("routes = %v, %v; want the bridge's network without the default route", routes, err)
	}
	if err := c.Do(DelAddr(l.Index, addr), DeleteLink("br0")); err != nil {
		t.Error(err)
	}
	n := 0
	if err := c.Links(func(*Link) { n++ }); err != nil || n != 1 {
		t.Errorf("links left = %d, %v; want lo", n, err)
	}
}

func TestErrorsNameTheRequest(t *testing.T) {
	c := inNamespace(t)
	if _, err := c.LinkByName("nope"); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "look up the link nope") {
		t.Errorf("unknown link: %v", err)
	}
	// The kernel works off the rest after a failure; each gets its own result.
	errs, err := c.DoEach(DeleteLink("nope"), SetUp("lo"), SetUp("nope"))
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(errs[0], unix.ENODEV) || errs[1] != nil || !errors.Is(errs[2], unix.ENODEV) {
		t.Errorf("results = %v", errs)
	}
	if err := c.Do(CreateBridge("a-name-that-is-too-long", net.HardwareAddr{2, 0, 0, 0, 0, 1}, 0)); err == nil {
		t.Error("a name of 23 characters was accepted")
	}
	if l, err := c.LinkByName("lo"); err != nil || !l.Up() {
		t.Errorf("the socket is out of step after errors: %+v, %v", l, err)
	}
	c.Close()
	if err := c.Do(SetUp("lo")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do after Close = %v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	r := NewRequest("x", unix.RTM_NEWLINK, 0).Raw(ifinfo(0, 1, 0, 0)).String(unix.IFLA_IFNAME, "lo")
	f.Add(r.body)
	f.Fuzz(func(t *testing.T, b []byte) {
		if l := parseLink(b); l != nil && strings.ContainsRune(l.Name, 0) {
			t.Errorf("name %q", l.Name)
		}
		for range Attrs(b) {
		}
		if err := answerError("x", unix.NlMsghdr{Flags: unix.NLM_F_ACK_TLVS}, b); err != nil && err.Error() == "" {
			t.Error("an error without text")
		}
	})
}
