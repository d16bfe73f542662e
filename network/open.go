package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/etcfiles"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/state"
)

// openBridge makes or adopts the default bridge.
func (s *Service) openBridge(ctx context.Context) error {
	n := s.networks[DefaultNetwork]
	address, err := s.chooseAddress(n.record.Address)
	if err != nil {
		return err
	}
	if err := s.checkEndpoints(address); err != nil {
		return err
	}
	if n.pool, err = s.openPool(address); err != nil {
		return err
	}
	var live []driver.Endpoint
	for _, r := range s.endpoints {
		live = append(live, r.forDriver())
	}
	n.driver, err = bridge.Open(ctx, bridge.Config{
		Name: s.cfg.Bridge, Address: address, MTU: s.cfg.MTU, ICC: s.cfg.ICC, Masquerade: s.cfg.IPMasq, Forward: s.cfg.IPForward, Log: s.log,
	}, live)
	if err != nil {
		return err
	}
	if address == n.record.Address {
		return nil
	}
	n.record.Address = address
	err = s.store.Update(func(tx *state.Tx) error { return tx.Put(networksBucket, DefaultNetwork, n.record) })
	if err != nil {
		return errors.Join(err, n.driver.Remove(ctx))
	}
	return nil
}

// openPool makes the pool with the addresses of the endpoints, of the bridge and
// of the router taken.
func (s *Service) openPool(address netip.Prefix) (*ipam.Pool, error) {
	var within netip.Prefix
	if s.cfg.FixedCIDR != "" {
		var err error
		if within, err = netip.ParsePrefix(s.cfg.FixedCIDR); err != nil {
			return nil, fault.New(fault.Invalid, "--fixed-cidr %q is not a network such as 172.17.8.0/24", s.cfg.FixedCIDR)
		}
	}
	pool, err := ipam.NewPool(address, within)
	if err != nil {
		return nil, err
	}
	pool.Take(address.Addr())
	if gw := s.cfg.DefaultGateway; gw.IsValid() {
		if !address.Contains(gw) {
			return nil, fault.New(fault.Invalid, "the default gateway %s is not in the bridge's network %s", gw, address.Masked())
		}
		pool.Take(gw)
	}
	for _, r := range s.endpoints {
		pool.Take(r.IP.Addr())
	}
	var cursor netip.Addr
	err = s.store.View(func(tx *state.Tx) error {
		_, err := tx.Get(cursorsBucket, DefaultNetwork, &cursor)
		return err
	})
	pool.SetCursor(cursor)
	return pool, err
}

// checkEndpoints refuses to move a network from under its containers.
func (s *Service) checkEndpoints(address netip.Prefix) error {
	for _, r := range s.endpoints {
		if r.Network == DefaultNetwork && r.IP.Masked() != address.Masked() {
			return fault.New(fault.Conflict, "the bridge %s cannot move to %s: container %s still has the address %s (stop it, or start the daemon with --bip %s)",
				s.cfg.Bridge, address.Masked(), r.Container, r.IP, netip.PrefixFrom(r.Endpoint.Gateway, r.IP.Bits()))
		}
	}
	return nil
}

// hostNets is what the host uses already.
type hostNets struct {
	bridge     *netlink.Link // nil when there is none yet
	bridgeAddr netip.Prefix  // of the bridge, when it has one
	used       []netip.Prefix
}

// chooseAddress returns the bridge's address: --bip; what an existing bridge
// has; what it was the last time, if that is still free; the first free pool.
func (s *Service) chooseAddress(last netip.Prefix) (netip.Prefix, error) {
	host, err := s.surveyHost()
	if err != nil {
		return netip.Prefix{}, err
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
				return netip.Prefix{}, fault.New(fault.Conflict, "--bip %s overlaps %s, which this host uses already (choose another network)", p, u)
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

// surveyHost collects the networks of links, routes and name servers.
func (s *Service) surveyHost() (*hostNets, error) {
	conn, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	h := &hostNets{}
	if h.bridge, err = conn.LinkByName(s.cfg.Bridge); err != nil && !errors.Is(err, unix.ENODEV) {
		return nil, err
	}
	isBridge := func(index int) bool { return h.bridge != nil && h.bridge.Index == index }
	err = conn.Addrs(func(a netlink.Addr) {
		switch {
		case !isBridge(a.Index):
			h.used = append(h.used, a.Prefix.Masked())
		case !h.bridgeAddr.IsValid():
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
			if a, err := netip.ParseAddr(server); err == nil && a.Is4() {
				h.used = append(h.used, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return h, nil
}

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}
