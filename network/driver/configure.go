package driver

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/network/netns"
)

// Configure brings the container's end of a link up, with its addresses and
// default routes, in one look-up and one system call. IPv6 is off on
// every link of a sandbox that has no IPv6 address.
func Configure(sb *netns.Sandbox, ep Endpoint) error {
	fail := func(err error) error {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("configure the network of container %.12s: %w", ep.ContainerID, err))
	}
	link, err := sb.Conn.LinkByName(ep.Name)
	if err != nil {
		return fail(err)
	}
	if err := setSysctls(sb.File, ep); err != nil {
		return fail(err)
	}
	reqs := []*netlink.Request{netlink.SetUpIndex(link.Index)}
	if ep.IP.IsValid() {
		reqs = append(reqs, netlink.AddAddr(link.Index, ep.IP))
	}
	if ep.IP6.IsValid() {
		reqs = append(reqs, netlink.AddAddr(link.Index, ep.IP6))
	}
	for _, p := range ep.LinkLocal {
		reqs = append(reqs, netlink.AddAddr(link.Index, p))
	}
	if err := sb.Conn.Do(append(reqs, Routes(link.Index, ep)...)...); err != nil {
		return fail(err)
	}
	return nil
}

// Routes are the requests for the default routes over a link.
func Routes(index int, ep Endpoint) []*netlink.Request {
	var reqs []*netlink.Request
	if ep.Gateway.IsValid() {
		reqs = append(reqs, netlink.AddDefaultRoute(index, ep.Gateway))
	}
	if ep.Gateway6.IsValid() {
		reqs = append(reqs, netlink.AddDefaultRoute(index, ep.Gateway6))
	}
	return reqs
}

// setSysctls switches IPv6 on where there is an address for it. Router
// advertisements, which any neighbour can send, change nothing (CVE-2020-13401).
func setSysctls(ns *os.File, ep Endpoint) error {
	var list []Sysctl
	if ep.IP6.IsValid() {
		v6 := "net/ipv6/conf/" + ep.Name + "/"
		list = append(list, Sysctl{v6 + "disable_ipv6", "0"}, Sysctl{v6 + "accept_ra", "0"})
	}
	if list = append(list, ep.Sysctls...); len(list) == 0 {
		return nil
	}
	return netns.Do(ns, func() error {
		for _, s := range list {
			err := netns.WriteSysctl("/proc/sys/"+s.Path, s.Value)
			if errors.Is(err, unix.ENOENT) && ep.IP6.IsValid() && len(ep.Sysctls) == 0 {
				return fault.New(fault.Unavailable, "this host's kernel has no IPv6: %w", err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
