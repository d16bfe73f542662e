package bridge

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// Sweep removes the bridges that a daemon made for networks without a record, and
// the links on them: it died in the middle of a creation or a removal.
func Sweep(owner string, known func(name string) bool) error {
	host, err := netlink.Open()
	if err != nil {
		return err
	}
	defer host.Close()
	var ports, bridges []int
	on := map[int][]int{} // links by their bridge
	err = host.Links(func(l *netlink.Link) {
		switch {
		case l.Kind == "bridge" && l.Alias == alias(owner) && !known(l.Name):
			bridges = append(bridges, l.Index)
		case l.Master != 0 && containerLink(l) && !known(l.Name):
			on[l.Master] = append(on[l.Master], l.Index)
		}
	})
	for _, b := range bridges {
		ports = append(ports, on[b]...)
	}
	// The links first: see Remover.
	for _, all := range [][]int{ports, bridges} {
		for some := range slices.Chunk(all, removedAtOnce) {
			err = errors.Join(append(removeLinks(host, nil, some), err)...)
		}
	}
	return err
}

// SweepLinks removes, after the time that the end of a namespace may take, the links
// that hang on no bridge and that no endpoint has: their bridge is gone with its network,
// and the daemon died before it had seen them go. A link of another daemon is without
// a bridge for a moment only, when it is made.
func SweepLinks(known func(link string) bool, failed func(error)) {
	stale, err := unattached(known)
	if err != nil {
		failed(err)
	}
	if len(stale) == 0 {
		return
	}
	time.AfterFunc(linkGrace, func() {
		still, err := unattached(func(link string) bool { return !stale[link] })
		if err != nil {
			failed(err)
			return
		}
		host, err := netlink.Open()
		if err != nil {
			failed(err)
			return
		}
		defer host.Close()
		for name := range still {
			if err := host.Do(netlink.DeleteLink(name)); err != nil && !errors.Is(err, unix.ENODEV) {
				failed(err)
			}
		}
	})
}

// unattached lists the links, named as ours are, on no bridge, that are not known.
func unattached(known func(link string) bool) (map[string]bool, error) {
	host, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	links := map[string]bool{}
	err = host.Links(func(l *netlink.Link) {
		if containerLink(l) && l.Master == 0 && !known(l.Name) {
			links[l.Name] = true
		}
	})
	return links, err
}
