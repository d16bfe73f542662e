package bridge

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/netlink"
)

// Sweep removes the bridges that a daemon made for networks without a record: it
// died in the middle of a creation or a removal.
func Sweep(owner string, known func(name string) bool) error {
	host, err := netlink.Open()
	if err != nil {
		return err
	}
	defer host.Close()
	var stale []string
	err = host.Links(func(l *netlink.Link) {
		if l.Kind == "bridge" && l.Alias == alias(owner) && !known(l.Name) {
			stale = append(stale, l.Name)
		}
	})
	for _, name := range stale {
		err = errors.Join(err, host.Do(netlink.DeleteLink(name)))
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
		hex, prefixed := strings.CutPrefix(l.Name, driver.LinkPrefix)
		ours := prefixed && len(l.Name) == unix.IFNAMSIZ-1 && strings.Trim(hex, "0123456789abcdef") == ""
		if ours && l.Kind == "veth" && l.Master == 0 && !known(l.Name) {
			links[l.Name] = true
		}
	})
	return links, err
}
