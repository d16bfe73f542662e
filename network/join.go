package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/network/settings"
	"github.com/sampan-containers/sampan/state"
)

// linkIDLen is what fits behind the prefix into a link's name.
const linkIDLen = unix.IFNAMSIZ - 1 - len(driver.LinkPrefix)

// undo is a stack of clean-up steps.
type undo []func()

func (u undo) run() {
	for i := len(u) - 1; i >= 0; i-- {
		u[i]()
	}
}

// Join makes a namespace with an endpoint in each of the request's networks, and
// binds and publishes its ports. It fails whole: whatever it made is undone. A
// port in use is fault.Conflict, no address, port or descriptor left is
// fault.Exhausted. A container that is joined already leaves first: it has one
// run at a time.
//
// The steps: reserve the addresses, bind the ports, make the namespace while the
// record is written, attach it, publish the ports.
func (s *Service) Join(ctx context.Context, req JoinRequest) (_ *Sandbox, retErr error) {
	if req.ContainerID == "" {
		return nil, fault.New(fault.Invalid, "join a network: no container ID")
	}
	if len(req.Endpoints) == 0 {
		req.Endpoints = []EndpointRequest{{Network: DefaultNetwork}}
	}
	if err := s.Leave(ctx, req.ContainerID); err != nil {
		return nil, err
	}
	var u undo
	defer func() {
		if retErr != nil {
			u.run()
		}
	}()
	b := &sandbox{ContainerID: req.ContainerID, Container: req.Name, Wanted: req.Ports}
	var nets []*network
	for _, r := range req.Endpoints {
		n, e, err := s.reserveEndpoint(b, r)
		if err != nil {
			return nil, err
		}
		u = append(u, func() { s.release(n, e) })
		defer s.settle(n)
		b.Endpoints, nets = append(b.Endpoints, e), append(nets, n)
	}
	socks, err := s.bindPorts(b, req.Ports)
	if err != nil {
		return nil, err
	}
	u = append(u, func() { s.closePorts(socks) })
	failpoint.Hit("network.join.bound")
	made := make(chan error, 1)
	var sb *netns.Sandbox
	go func() {
		var err error
		sb, err = s.namespace(req.NetNS)
		made <- err
	}()
	u = append(u, func() { s.forget(b) })
	err = s.remember(b, b.Endpoints, nil)
	nsErr := <-made
	if nsErr == nil {
		defer sb.Conn.Close()
		u = append(u, func() { sb.File.Close() })
	} else {
		nsErr = fault.Wrap(unavailable(nsErr), nsErr)
	}
	if err := errors.Join(err, nsErr); err != nil {
		return nil, err
	}
	failpoint.Hit("network.join.recorded")
	for i, e := range b.Endpoints {
		n, ep := nets[i], s.forDriver(b, e)
		if err := n.driver.Attach(ctx, sb, ep); err != nil {
			return nil, err
		}
		failpoint.Hit("network.join.attached")
		u = append(u, func() { n.driver.Detach(context.WithoutCancel(ctx), ep) })
		if err := n.driver.Publish(ctx, ep); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	failpoint.Hit("network.join.published")
	out := &Sandbox{NetNS: sb.File, Joined: b.joined(), Sockets: socks}
	if s.Resolves(req.ContainerID) {
		if out.Resolver, err = s.OpenResolver(req.ContainerID, sb.File, req.Resolver); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// namespace configures a namespace that was given, or makes one.
func (s *Service) namespace(given *os.File) (*netns.Sandbox, error) {
	if given != nil {
		return netns.Adopt(given)
	}
	return s.reserve.Take()
}

// reserveEndpoint finds the network, holds it, and takes addresses in it. The
// caller calls settle at its end, and release if it fails.
func (s *Service) reserveEndpoint(b *sandbox, r EndpointRequest) (_ *network, _ *endpoint, err error) {
	n, err := s.joinable(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			s.settle(n)
		}
	}()
	if b.in(n.record.ID) != nil {
		return nil, nil, fault.New(fault.Forbidden, "endpoint with name %s already exists in network %s", b.Container, n.record.Name)
	}
	if n.record.Driver == settings.IPvlan && r.MAC != nil {
		return nil, nil, fault.New(fault.Invalid, "containers in the network %s have the MAC address of its parent (ipvlan): leave out --mac-address, or use macvlan", n.record.Name)
	}
	e := &endpoint{Endpoint: Endpoint{
		Network: n.record.Name, NetworkID: n.record.ID, EndpointID: newID(), MAC: r.MAC, Priority: r.Priority,
		Links: r.Links, Internal: n.record.Internal,
	}}
	if n.device == "" {
		e.Driver = n.record.Driver
	}
	e.Link = driver.LinkPrefix + e.EndpointID[:linkIDLen]
	for _, a := range r.LinkLocal {
		bits := 16
		if a.Is6() {
			bits = 64
		}
		e.LinkLocal = append(e.LinkLocal, netip.PrefixFrom(a, bits))
	}
	if e.Interface, err = interfaceName(b, n, r.Options); err != nil {
		return nil, nil, err
	}
	if e.Sysctls, err = interfaceSysctls(e.Interface, r.Options); err != nil {
		return nil, nil, err
	}
	if !n.plain() {
		e.Names = endpointNames(b, r.Aliases)
	}
	if err := s.takeAddresses(n, e, r); err != nil {
		return nil, nil, err
	}
	if n.record.Driver == settings.IPvlan {
		return n, e, nil // its links have the address of their parent
	}
	if e.MAC == nil {
		e.MAC = macOf(e.Addrs())
		if n.device == "" {
			// A macvlan parent refuses an address that a link has which is still
			// on its way out with its namespace.
			rand.Read(e.MAC[2:])
		}
	}
	return n, e, nil
}

// endpointNames are the container's name, its aliases and its short id.
func endpointNames(b *sandbox, aliases []string) []string {
	out := make([]string, 0, len(aliases)+2)
	for _, a := range append(append([]string{b.Container}, aliases...), b.ContainerID[:min(shortID, len(b.ContainerID))]) {
		known := a == ""
		for _, o := range out {
			known = known || o == a
		}
		if !known {
			out = append(out, a)
		}
	}
	return out
}

// joinable returns the network and holds it, or says why nothing can join it.
func (s *Service) joinable(r EndpointRequest) (*network, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup(r.Network)
	if err != nil {
		return nil, err
	}
	switch {
	case s.closed:
		return nil, fault.New(fault.Unavailable, "join network %s: the daemon is shutting down", n.record.Name)
	case n.driver == nil && n.record.Name == DefaultNetwork:
		return nil, fault.New(fault.Unavailable, "there is no default bridge: the daemon runs with --bridge none (use --network none, host, container:NAME or a network of your own)")
	case n.record.ConfigOnly:
		return nil, fault.New(fault.Forbidden, "network %s is a configuration for other networks and cannot be joined", n.record.Name)
	case n.driver == nil && settings.Predefined(n.record.Name):
		return nil, fault.New(fault.Invalid, "network %s has no endpoints to join", n.record.Name)
	case n.driver == nil:
		return nil, fault.New(fault.Unavailable, "network %s cannot be used: the daemon could not make it when it started (see its log; remove the network and make it again)", n.record.Name)
	case n.ended:
		return nil, fault.New(fault.NotFound, "network %s not found: %w", n.record.Name, errEnded)
	}
	if err := n.allows(r); err != nil {
		return nil, err
	}
	n.joining++
	return n, nil
}

// allows refuses what the network can never give.
func (n *network) allows(r EndpointRequest) error {
	if n.plain() && (r.IP.IsValid() || r.IP6.IsValid()) {
		return fault.New(fault.Invalid, "user specified IP address is supported on user defined networks only: leave out --ip and --ip6")
	}
	if n.plain() && len(r.Aliases) > 0 {
		return fault.New(fault.Invalid, "network-scoped alias is supported only for containers in user defined networks")
	}
	if r.MAC != nil && (len(r.MAC) != 6 || r.MAC[0]&1 != 0) {
		return fault.New(fault.Invalid, "%s is not a MAC address that a container can have (six bytes, no multicast address)", r.MAC)
	}
	for _, want := range []netip.Addr{r.IP, r.IP6} {
		if !want.IsValid() {
			continue
		}
		inside := false
		for _, p := range n.pools {
			inside = inside || p.Network().Contains(want)
		}
		if !inside {
			return fault.New(fault.Invalid, "invalid endpoint settings: no configured subnet or ip-range of network %s contains the IP address %s", n.record.Name, want)
		}
	}
	for _, a := range r.LinkLocal {
		if !a.IsLinkLocalUnicast() {
			return fault.New(fault.Invalid, "invalid endpoint settings: %s is not a link-local address", a)
		}
	}
	return nil
}

// Check tells whether a container could join: what is wrong with the request of
// one that does not run.
func (s *Service) Check(r EndpointRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup(r.Network)
	if err != nil {
		return err
	}
	return n.allows(r)
}

// takeAddresses takes one address of each family.
func (s *Service) takeAddresses(n *network, e *endpoint, r EndpointRequest) (err error) {
	defer func() {
		if err != nil {
			s.freeAddresses(n, e)
		}
	}()
	for i, p := range n.pools {
		six := p.Network().Addr().Is6()
		got, want := &e.IP, r.IP
		if six {
			got, want = &e.IP6, r.IP6
		}
		switch {
		case got.IsValid() || want.IsValid() && !p.Network().Contains(want):
			continue // the family's address comes from another subnet
		case want.IsValid():
			if !p.Take(want) {
				return fault.New(fault.Conflict, "Address already in use: %s in network %s", want, n.record.Name)
			}
			*got = netip.PrefixFrom(want, p.Network().Bits())
		default:
			a, err := p.Next()
			if err != nil {
				return err
			}
			*got = netip.PrefixFrom(a, p.Network().Bits())
		}
		gw := s.gatewayOf(n, i)
		if six {
			e.Gateway6 = gw
		} else {
			e.Gateway = gw
		}
	}
	return nil
}

// gatewayOf is the router of the containers in the i-th subnet. That of an
// internal network is told and gets no route; an isolated one has none.
func (s *Service) gatewayOf(n *network, i int) netip.Addr {
	if n.record.Name == DefaultNetwork {
		gw, address := s.cfg.DefaultGateway, n.record.Address
		if i > 0 {
			gw, address = s.cfg.DefaultGateway6, n.record.Address6
		}
		if gw.IsValid() {
			return gw
		}
		return address.Addr()
	}
	p := n.record.Pools[i]
	if mode := n.bridge; mode != nil && (mode.Mode4 == settings.Isolated && p.Subnet.Addr().Is4() || mode.Mode6 == settings.Isolated && p.Subnet.Addr().Is6()) {
		return netip.Addr{}
	}
	for _, aux := range []string{"DefaultGatewayIPv4", "DefaultGatewayIPv6"} {
		if a, ok := p.Aux[aux]; ok {
			return a
		}
	}
	return p.Gateway
}

func (s *Service) freeAddresses(n *network, e *endpoint) {
	for _, p := range n.pools {
		for _, a := range e.Addrs() {
			if p.Network().Contains(a) {
				p.Release(a)
			}
		}
	}
}

// release gives back what reserveEndpoint took.
func (s *Service) release(n *network, e *endpoint) { s.freeAddresses(n, e) }

// settle ends reserveEndpoint's hold of the network.
func (s *Service) settle(n *network) {
	s.mu.Lock()
	n.joining--
	s.mu.Unlock()
}

// remember makes the sandbox durable, with addresses that are new to it, before
// its container can exist, so that a daemon killed now finds it.
func (s *Service) remember(b *sandbox, fresh []*endpoint, also func(*state.Tx) error) error {
	err := s.store.Batch(func(tx *state.Tx) error {
		if err := putCursors(tx, fresh); err != nil {
			return err
		}
		if err := tx.Put(endpointsBucket, b.ContainerID, b); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
	if err == nil {
		s.mu.Lock()
		s.enter(b)
		s.mu.Unlock()
	}
	return err
}

// forget lets go of a sandbox. It need not be durable: a daemon that finds the
// endpoints of a container that does not run lets go of them too. Whoever gets the
// addresses next is recorded afterwards.
func (s *Service) forget(b *sandbox) {
	s.mu.Lock()
	for _, e := range b.Endpoints {
		s.exit(b.ContainerID, e)
	}
	delete(s.sandboxes, b.ContainerID)
	s.mu.Unlock()
	s.store.Later(func(tx *state.Tx) error {
		return tx.Delete(endpointsBucket, b.ContainerID)
	}, func(err error) { s.log.Error("forget an endpoint", "container", b.ContainerID, "error", err) })
}

// macOf derives the MAC address from the IPv4 address, as Docker does: unique
// while the address is, and neighbours never see one address move. A container
// with IPv6 alone gets the last bytes of that.
func macOf(addrs []netip.Addr) net.HardwareAddr {
	m := net.HardwareAddr{0x02, 0x42, 0, 0, 0, 0}
	if len(addrs) > 0 {
		b := addrs[0].AsSlice()
		copy(m[2:], b[len(b)-4:])
	}
	return m
}

// unavailable chooses the class of a failed system call.
func unavailable(err error) *fault.Class {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.ENOMEM} {
		if errors.Is(err, e) {
			return fault.Exhausted
		}
	}
	return fault.Unavailable
}

func newID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (Go 1.24)
	return hex.EncodeToString(b)
}

// interfaceName is the one asked for, or the first free ethN.
func interfaceName(b *sandbox, n *network, options map[string]string) (string, error) {
	used := func(name string) bool {
		for _, e := range b.Endpoints {
			if e.Interface == name {
				return true
			}
		}
		return false
	}
	if name := options[settings.OptIfName]; name != "" {
		if !settings.ValidInterface(name) || name == "lo" {
			return "", fault.New(fault.Invalid, "%s: %q cannot be the name of an interface", settings.OptIfName, name)
		}
		if used(name) {
			return "", fault.New(fault.Conflict, "%s: the container has an interface %s already", settings.OptIfName, name)
		}
		return name, nil
	}
	prefix := "eth"
	if n.bridge != nil && n.bridge.IfPrefix != "" {
		prefix = n.bridge.IfPrefix
	}
	for i := 0; ; i++ {
		if name := fmt.Sprintf("%s%d", prefix, i); !used(name) {
			return name, nil
		}
	}
}
