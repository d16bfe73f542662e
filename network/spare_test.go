package network

import (
	"fmt"
	"strings"
	"testing"

	mobynet "github.com/moby/moby/api/types/network"
)

// TestBridgeTakenOver: a network that is made right after another one was removed
// gets the bridge of that, under its own name, with its own addresses and nothing
// of what was before; never one that somebody has changed.
func TestBridgeTakenOver(t *testing.T) {
	l := newLab(t)
	s := l.service(l.config())
	index := func(device string) string {
		i, _, _ := strings.Cut(l.run("ip", "-o", "link", "show", device), ":")
		return i
	}
	device := func(n *mobynet.Inspect) string { return "br-" + n.ID[:shortID] }
	create := func(name string, change func(*mobynet.CreateRequest)) *mobynet.Inspect {
		t.Helper()
		req := mobynet.CreateRequest{Name: name}
		change(&req)
		n, err := s.Create(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	none := func(*mobynet.CreateRequest) {}
	mtu := func(r *mobynet.CreateRequest) {
		r.Options = map[string]string{"com.docker.network.driver.mtu": "1400"}
	}
	// again removes a network after change and makes the next one.
	again := func(before func(*mobynet.CreateRequest), change func(device string), after func(*mobynet.CreateRequest)) (old, n *mobynet.Inspect, same bool) {
		t.Helper()
		old = create("old", before)
		was := index(device(old))
		change(device(old))
		if _, err := s.Remove(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
		n = create("new", after)
		same = index(device(n)) == was
		return old, n, same
	}
	remove := func() {
		t.Helper()
		if _, err := s.Remove(t.Context(), "new"); err != nil {
			t.Fatal(err)
		}
		s.remover.Wait()
		if links := l.run("ip", "-o", "link"); strings.Contains(links, ": br-") {
			t.Errorf("links after the removal:\n%s", links)
		}
	}

	t.Run("as new", func(t *testing.T) {
		// The offer lasts for a moment only: a slow machine gets more than one try.
		for range 20 {
			old, n, same := again(none, func(string) {}, none)
			if same {
				links, addrs := l.run("ip", "-d", "link"), l.run("ip", "-o", "-4", "addr")
				if strings.Contains(links, device(old)) || !strings.Contains(links, "sampan network of sampan0") || !strings.Contains(l.run("ip", "link", "show", device(n)), ",UP") {
					t.Errorf("a bridge that was taken over:\n%s", links)
				}
				if want := n.IPAM.Config[0].Gateway.String(); strings.Count(addrs, ": br-") != 1 || !strings.Contains(addrs, want) {
					t.Errorf("addresses, want only %s:\n%s", want, addrs)
				}
				if rules := l.run("nft", "list", "table", "inet", "sampan0"); strings.Contains(rules, device(old)) || !strings.Contains(rules, device(n)) {
					t.Errorf("rules of %s after %s:\n%s", device(n), device(old), rules)
				}
			}
			remove()
			if same {
				return
			}
		}
		t.Error("no bridge was taken over")
	})
	for name, change := range map[string]func(device string){
		"an option of the bridge": func(d string) { l.run("ip", "link", "set", d, "type", "bridge", "stp_state", "1") },
		"a setting in /proc/sys":  func(d string) { l.run("sysctl", "-qw", fmt.Sprintf("net.ipv4.conf.%s.log_martians=1", d)) },
		"a queueing discipline":   func(d string) { l.run("tc", "qdisc", "add", "dev", d, "root", "pfifo") },
		"a group":                 func(d string) { l.run("ip", "link", "set", d, "group", "7") },
		"a port": func(d string) {
			l.run("ip", "link", "add", "vethmine", "type", "veth", "peer", "name", "vethmine2")
			t.Cleanup(func() { l.run("ip", "link", "del", "vethmine") })
			l.run("ip", "link", "set", "vethmine", "master", d)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, same := again(none, change, none); same {
				t.Error("a changed bridge was taken over")
			}
			remove()
		})
	}
	t.Run("another MTU", func(t *testing.T) {
		if _, _, same := again(mtu, func(string) {}, none); same {
			t.Error("the bridge was taken over")
		}
		remove()
	})
}
