package network

import (
	"context"
	"errors"
	"net/netip"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/firewall"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/macvlan"
	"github.com/sampan-containers/sampan/network/settings"
	"github.com/sampan-containers/sampan/state"
)

// open brings the networks of the records into the kernel. The table goes first:
// it tells whether another daemon has it, before anything of that daemon is
// touched; its rules match bridges by name. A user-defined network that
// cannot be opened, as one whose parent interface is not there yet, does
// not keep the daemon from starting.
func (s *Service) open(ctx context.Context) (err error) {
	if s.cfg.Bridge != NoBridge {
		if err := s.prepareDefault(); err != nil {
			return err
		}
	}
	var rules []firewall.Network
	var ports []firewall.Mapping
	for _, n := range s.networks {
		if !settings.Predefined(n.record.Name) {
			if err := s.prepare(n); err != nil {
				s.log.Error("a network cannot be used", "network", n.record.Name, "error", err)
				continue
			}
		}
		if n.device != "" {
			rules = append(rules, s.rules(n))
		}
	}
	for _, b := range s.sandboxes {
		for _, e := range b.Endpoints {
			ports = append(ports, bridge.Mappings(s.forDriver(b, e))...)
		}
	}
	if len(rules) > 0 {
		if err := s.openTable(rules, ports); err != nil {
			return err
		}
	}
	if err := s.sweep(); err != nil {
		s.log.Error("remove bridges that no network has", "error", err)
	}
	for _, n := range s.networks {
		err := s.openDriver(n)
		if err != nil && n.record.Name == DefaultNetwork {
			return errors.Join(err, s.undoOpen(ctx))
		}
		if err != nil {
			s.log.Error("a network cannot be used", "network", n.record.Name, "error", err)
		}
	}
	if w := s.Blocked(); w != "" {
		s.log.Warn(w)
	}
	return nil
}

// undoOpen leaves nothing behind, unless containers need it.
func (s *Service) undoOpen(ctx context.Context) error {
	if len(s.sandboxes) > 0 {
		s.fw.Close()
		return nil
	}
	var err error
	for _, n := range s.networks {
		if n.driver != nil {
			err = errors.Join(err, n.driver.Remove(ctx))
		}
	}
	return errors.Join(err, s.fw.Remove())
}

func (s *Service) openTable(rules []firewall.Network, ports []firewall.Mapping) (err error) {
	fw, err := firewall.Open(firewall.Config{Name: s.tableName(), Off: s.cfg.NoRules, Log: s.log}, rules, ports)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.fw = fw
	s.mu.Unlock()
	return nil
}

func (s *Service) tableName() string {
	if s.cfg.Bridge == NoBridge {
		// Several daemons without a default bridge must not share a table.
		return firewall.TableName(s.networks[NoneNetwork].record.ID[:shortID])
	}
	return firewall.TableName(s.cfg.Bridge)
}

// sweep removes what a daemon left that died while it made or removed a network.
func (s *Service) sweep() error {
	known := map[string]bool{}
	for _, n := range s.networks {
		known[n.device] = true
	}
	for _, b := range s.sandboxes {
		for _, e := range b.Endpoints {
			known[e.Link] = true
		}
	}
	isKnown := func(name string) bool { return known[name] }
	err := bridge.Sweep(s.tableName(), isKnown)
	bridge.SweepLinks(isKnown, func(err error) { s.log.Error("remove links that no container has", "error", err) })
	return err
}

// shortID is the length of an abbreviated ID.
const shortID = 12

// prepare reads the options of a user-defined network and makes its pools.
func (s *Service) prepare(n *network) (err error) {
	if n.record.ConfigOnly {
		return nil
	}
	if n.record.Driver == settings.Bridge {
		if n.bridge, err = n.record.Bridge(); err != nil {
			return err
		}
		if n.device = n.bridge.Name; n.device == "" {
			n.device = "br-" + n.record.ID[:shortID]
		}
	}
	for i := range n.record.Pools {
		p := &n.record.Pools[i]
		pool, err := ipam.NewPool(p.Subnet, p.Range)
		if err != nil {
			return err
		}
		for _, a := range p.Aux {
			pool.Take(a)
		}
		if p.Gateway.IsValid() {
			pool.Take(p.Gateway)
		} else if p.Gateway, err = pool.Lowest(); err != nil {
			return err
		}
		n.pools = append(n.pools, pool)
	}
	return s.fill(n, n.pools)
}

// rules is a bridge network as the packet filter sees it.
func (s *Service) rules(n *network) firewall.Network {
	r := firewall.Network{Bridge: n.device, Internal: n.record.Internal, ICC: n.bridge.ICC, Masquerade: n.bridge.Masquerade,
		Routed4: n.bridge.Mode4 == settings.Routed, Routed6: n.bridge.Mode6 == settings.Routed,
		Unprotected: n.bridge.Mode4 == settings.Unprotected || n.bridge.Mode6 == settings.Unprotected}
	for _, p := range n.pools {
		r.Subnets = append(r.Subnets, p.Network())
	}
	return r
}

// openDriver makes or adopts what the network needs in the kernel.
func (s *Service) openDriver(n *network) (err error) {
	switch {
	case n.device != "":
		n.driver, err = s.openBridge(n)
	case n.record.OnWire() && len(n.pools) > 0:
		n.driver, err = openMacvlan(n.record)
	}
	return err
}

func (s *Service) openBridge(n *network) (driver.Driver, error) {
	var live []driver.Endpoint
	for _, b := range s.sandboxes {
		if e := b.in(n.record.ID); e != nil {
			live = append(live, s.forDriver(b, e))
		}
	}
	mtu := n.bridge.MTU
	if mtu == 0 {
		mtu = s.cfg.MTU
	}
	owner := ""
	if n.record.Name != DefaultNetwork {
		owner = s.tableName()
	}
	b, err := bridge.Open(bridge.Config{
		Name: n.device, Owner: owner, Addresses: s.bridgeAddresses(n), IPv6: n.record.IPv6, Rules: s.rules(n), MTU: mtu,
		Forward: s.cfg.IPForward && !n.record.Internal, Spares: &s.remover, Log: s.log,
	}, s.fw, live)
	if err != nil {
		return nil, err // not a nil *Bridge in an interface
	}
	return b, nil
}

// bridgeAddresses are the host's addresses in the network.
func (s *Service) bridgeAddresses(n *network) []netip.Prefix {
	if n.record.Name == DefaultNetwork {
		if n.record.IPv6 {
			return []netip.Prefix{n.record.Address, n.record.Address6}
		}
		return []netip.Prefix{n.record.Address}
	}
	var out []netip.Prefix
	for _, p := range n.record.Pools {
		mode := n.bridge.Mode4
		if p.Subnet.Addr().Is6() {
			mode = n.bridge.Mode6
		}
		if mode == settings.Isolated || n.bridge.Inhibit && p.Subnet.Addr().Is4() {
			continue
		}
		out = append(out, netip.PrefixFrom(p.Gateway, p.Subnet.Bits()))
	}
	return out
}

func openMacvlan(r *settings.Network) (driver.Driver, error) {
	o, err := r.Wire()
	if err != nil {
		return nil, err
	}
	m, err := macvlan.Open(macvlan.Config{Parent: macvlanParent(r, o), Mode: o.Mode, MTU: o.MTU, IPvlan: o.IPvlan, IPMode: o.IPMode, Flags: o.IPVFlags})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func macvlanParent(r *settings.Network, o *settings.WireOptions) string {
	if o.Parent != "" {
		return o.Parent
	}
	return macvlan.DummyPrefix + r.ID[:shortID]
}

// prepareDefault chooses the default bridge's addresses and makes its pools.
func (s *Service) prepareDefault() error {
	n := s.networks[DefaultNetwork]
	address, err := s.chooseAddress(n.record.Address)
	if err != nil {
		return err
	}
	if err := s.checkEndpoints(address); err != nil {
		return err
	}
	before, before6 := n.record.Address, n.record.Address6
	n.record.Address, n.record.IPv6 = address, s.cfg.IPv6
	n.device = s.cfg.Bridge
	n.bridge = &settings.BridgeOptions{ICC: s.cfg.ICC, Masquerade: s.cfg.IPMasq, MTU: s.cfg.MTU}
	pool, err := s.defaultPool(address, s.cfg.FixedCIDR, s.cfg.DefaultGateway)
	if err != nil {
		return err
	}
	n.pools = []*ipam.Pool{pool}
	if s.cfg.IPv6 {
		if err := s.prepareDefault6(n); err != nil {
			return err
		}
	}
	if err := s.fill(n, n.pools); err != nil {
		return err
	}
	if address == before && n.record.Address6 == before6 {
		return nil
	}
	return s.store.Update(func(tx *state.Tx) error { return tx.Put(networksBucket, DefaultNetwork, n.record) })
}

// prepareDefault6 chooses the IPv6 network of the default bridge: --fixed-cidr-v6;
// the last one; a unique local one.
func (s *Service) prepareDefault6(n *network) error {
	subnet := n.record.Address6.Masked()
	if text := s.cfg.FixedCIDR6; text != "" {
		p, err := netip.ParsePrefix(text)
		if err != nil || !p.Addr().Is6() || p.Addr().Is4In6() {
			return fault.New(fault.Invalid, "--fixed-cidr-v6 %q is not an IPv6 network such as 2001:db8:1::/64", text)
		}
		subnet = p.Masked()
	} else if !subnet.IsValid() {
		host, err := s.surveyHost(s.cfg.Bridge)
		if err != nil {
			return err
		}
		if subnet, err = ipam.FindFree6(s.cfg.DefaultPools, n.record.ID, host.used); err != nil {
			return err
		}
	}
	pool, err := s.defaultPool(subnet, "", s.cfg.DefaultGateway6)
	if err != nil {
		return err
	}
	gw, err := pool.Lowest()
	if err != nil {
		return err
	}
	n.record.Address6 = netip.PrefixFrom(gw, subnet.Bits())
	n.pools = append(n.pools, pool)
	return nil
}

// defaultPool makes a pool of the default bridge with its address and the
// router's taken.
func (s *Service) defaultPool(address netip.Prefix, part string, gw netip.Addr) (*ipam.Pool, error) {
	var within netip.Prefix
	if part != "" {
		var err error
		if within, err = netip.ParsePrefix(part); err != nil {
			return nil, fault.New(fault.Invalid, "--fixed-cidr %q is not a network such as 172.17.8.0/24", part)
		}
	}
	pool, err := ipam.NewPool(address, within)
	if err != nil {
		return nil, err
	}
	if address.Addr() != address.Masked().Addr() {
		pool.Take(address.Addr())
	}
	if gw.IsValid() {
		if !address.Contains(gw) {
			return nil, fault.New(fault.Invalid, "the default gateway %s is not in the bridge's network %s", gw, address.Masked())
		}
		pool.Take(gw)
	}
	return pool, nil
}

// checkEndpoints refuses to move a network from under its containers.
func (s *Service) checkEndpoints(address netip.Prefix) error {
	id := s.networks[DefaultNetwork].record.ID
	for _, b := range s.sandboxes {
		if e := b.in(id); e != nil && e.IP.Masked() != address.Masked() {
			return fault.New(fault.Conflict, "the bridge %s cannot move to %s: container %s still has the address %s (stop it, or start the daemon with --bip %s)",
				s.cfg.Bridge, address.Masked(), b.Container, e.IP, netip.PrefixFrom(e.Gateway, e.IP.Bits()))
		}
	}
	return nil
}
