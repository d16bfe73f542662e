package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/network/etcfiles"
	"github.com/sampan-containers/sampan/network/firewall"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/netlink"
)

// hostNets is what the host uses already.
type hostNets struct {
	bridge     *netlink.Link // nil when there is none yet
	bridgeAddr netip.Prefix  // of the bridge, when it has one
	used       []netip.Prefix
}

// chooseAddress returns the bridge's address: --bip; what an existing bridge
// has; what it was the last time, if that is still free; the first free pool.
func (s *Service) chooseAddress(last netip.Prefix) (netip.Prefix, error) {
	host, err := s.surveyHost(s.cfg.Bridge)
	if err != nil {
		return netip.Prefix{}, err
	}
	// The bridges of the other networks may not be there: they go with the last daemon, and
	// with the machine.
	for _, n := range s.networks {
		for _, p := range n.record.Pools {
			host.used = append(host.used, p.Subnet)
		}
	}
	if s.cfg.BIP != "" {
		p, err := netip.ParsePrefix(s.cfg.BIP)
		if err != nil || !p.Addr().Is4() || p.Addr() == p.Masked().Addr() {
			return netip.Prefix{}, fault.New(fault.Invalid, "--bip %q is not an address with its prefix, such as 10.9.0.1/24", s.cfg.BIP)
		}
		if host.bridge != nil && host.bridge.Alias != bridge.Alias && host.bridgeAddr.IsValid() && host.bridgeAddr != p {
			return netip.Prefix{}, fault.New(fault.Conflict, "the bridge %s has the address %s already and was not made by Sampan (start the daemon without --bip, or change the bridge's address)", s.cfg.Bridge, host.bridgeAddr)
		}
		for _, u := range host.used {
			if p.Overlaps(u) {
				return netip.Prefix{}, fault.New(fault.Conflict, "--bip %s overlaps %s, which this host or another network of this daemon uses already (choose another network)", p, u)
			}
		}
		return p, nil
	}
	if host.bridgeAddr.IsValid() {
		return host.bridgeAddr, nil
	}
	if last.IsValid() && !overlaps(last, host.used) {
		return last, nil
	}
	ranges := s.cfg.DefaultPools
	if ranges == nil {
		ranges = ipam.DockerRanges()
	}
	p, err := ipam.FindFree(ranges, host.used)
	return netip.PrefixFrom(p.Addr().Next(), p.Bits()), err
}

// surveyHost collects the networks of links, routes and name servers; those of
// the device are apart.
func (s *Service) surveyHost(device string) (*hostNets, error) {
	conn, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	h := &hostNets{}
	if h.bridge, err = conn.LinkByName(device); err != nil && !errors.Is(err, unix.ENODEV) {
		return nil, err
	}
	isBridge := func(index int) bool { return h.bridge != nil && h.bridge.Index == index }
	err = conn.Addrs(func(a netlink.Addr) {
		switch {
		case !isBridge(a.Index):
			h.used = append(h.used, a.Prefix.Masked())
		case !h.bridgeAddr.IsValid() && a.Prefix.Addr().Is4():
			h.bridgeAddr = a.Prefix
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look for a free network: %w", err)
	}
	err = conn.Routes(func(dst netip.Prefix, index int) {
		if !isBridge(index) {
			h.used = append(h.used, dst.Masked())
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look for a free network: %w", err)
	}
	if b, err := etcfiles.ReadHost(etcfiles.HostResolv); err == nil {
		for _, server := range etcfiles.ParseResolv(b).Servers {
			if a, err := netip.ParseAddr(server); err == nil {
				a = a.WithZone("")
				h.used = append(h.used, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return h, nil
}

// Blocked says which policy of another firewall, that Sampan cannot make its way in,
// keeps the containers of bridges from the outside, and what to do; or "".
func (s *Service) Blocked() string {
	if s.cfg.NoRules {
		return ""
	}
	var bridges []string
	s.mu.Lock()
	for _, n := range s.networks {
		if n.device != "" && !n.record.Internal {
			bridges = append(bridges, n.device)
		}
	}
	s.mu.Unlock()
	slices.Sort(bridges)
	return firewall.LegacyWarning(bridges)
}

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}
