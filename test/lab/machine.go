package lab

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Other is another machine: a network namespace joined to the lab by a veth.
type Other struct{ ns netns.NsHandle }

// Machine makes another machine. here is the lab's address on the cable, there
// the other's, both in CIDR form; the other's default route points here.
func Machine(t testing.TB, here, there string) *Other {
	t.Helper()
	other := &Other{}
	if err := onThread(func() error {
		own, err := netns.Get()
		if err != nil {
			return err
		}
		defer own.Close()
		ns, err := netns.New()
		if err != nil {
			return err
		}
		other.ns = ns
		return netns.Set(own)
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.ns.Close() })
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "cable0"}, PeerName: "cable1", PeerNamespace: netlink.NsFd(other.ns)}
	if err := netlink.LinkAdd(cable); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(cable) })
	local, err := netlink.ParseAddr(here)
	if err != nil {
		t.Fatal(err)
	}
	if err := up("cable0", here); err != nil {
		t.Fatal(err)
	}
	other.Do(t, func() error {
		if err := up("lo", ""); err != nil {
			return err
		}
		if err := up("cable1", there); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: local.IP})
	})
	return other
}

func up(name, address string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if address != "" {
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("%s: add %s: %w", name, address, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// Do runs f with the other machine's network and fails the test on its error.
func (o *Other) Do(t testing.TB, f func() error) {
	t.Helper()
	if err := o.Try(f); err != nil {
		t.Errorf("on the other machine: %v", err)
	}
}

// Try runs f with the other machine's network. Sockets that f makes must be
// made on the calling thread: f must not start goroutines that dial.
func (o *Other) Try(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(o.ns); err != nil {
			return err
		}
		return f()
	})
}

// Run runs a command on the other machine.
func (o *Other) Run(t testing.TB, argv ...string) Result {
	t.Helper()
	var r Result
	o.Do(t, func() error { r = Run(t, nil, argv...); return nil })
	return r
}

// onThread runs f on a thread of its own, which ends with it.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		defer close(result)    // also when f ends the goroutine
		result <- f()
	}()
	return <-result
}
