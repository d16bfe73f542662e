package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/network/portmap"
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

// Join makes a namespace with an endpoint in the request's network, and binds
// and publishes its ports. It fails whole: whatever it made is undone. A port in
// use is fault.Conflict, no address, port or descriptor left is fault.Exhausted.
// A container that is joined already leaves first: it has one run at a time.
//
// The steps: reserve the address, bind the ports, make the namespace while the
// record is written, attach it, publish the ports.
func (s *Service) Join(ctx context.Context, req JoinRequest) (_ *Sandbox, retErr error) {
	n, err := s.joinable(req)
	if err != nil {
		return nil, err
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

	ip, err := n.pool.Next()
	if err != nil {
		return nil, err
	}
	u = append(u, func() { n.pool.Release(ip) })

	socks, err := s.ports.Bind(req.Name, s.portRequests(req.Ports))
	if err != nil {
		return nil, err
	}
	u = append(u, func() { s.closePorts(socks) })

	rec := s.newRecord(n, req, ip, socks)
	made := make(chan error, 1)
	var sb *netns.Sandbox
	go func() {
		var err error
		sb, err = s.reserve.Take()
		made <- err
	}()
	u = append(u, func() { s.forget(rec) })
	err = s.remember(rec)
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

	ep := rec.forDriver()
	if err := n.driver.Attach(ctx, sb, ep); err != nil {
		return nil, err
	}
	u = append(u, func() { n.driver.Detach(context.WithoutCancel(ctx), ep) })
	if err := n.driver.Publish(ctx, ep); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	endpoint := rec.Endpoint
	out := &Sandbox{NetNS: sb.File, Endpoint: &endpoint}
	if s.Resolves(req.ContainerID) {
		if out.Resolver, err = s.OpenResolver(req.ContainerID, sb.File, req.Resolver); err != nil {
			return nil, err
		}
	}
	for _, sock := range socks {
		out.Sockets = append(out.Sockets, boundPort(sock))
	}
	return out, nil
}

// joinable returns the request's network, or says why nothing can join it.
func (s *Service) joinable(req JoinRequest) (*network, error) {
	name := req.Network
	if name == "" || name == "default" {
		name = DefaultNetwork
	}
	n, err := s.find(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, fault.New(fault.Unavailable, "join network %s: the daemon is shutting down", n.record.Name)
	case n.driver == nil && n.record.Name == DefaultNetwork:
		return nil, fault.New(fault.Unavailable, "there is no default bridge: the daemon runs with --bridge none (use --network none, host or container:NAME)")
	case n.driver == nil:
		return nil, fault.New(fault.Invalid, "network %s has no endpoints to join", n.record.Name)
	case req.IP.IsValid() && n.record.Name == DefaultNetwork:
		return nil, fault.New(fault.Invalid, "user specified IP address is supported on user defined networks only: leave out --ip")
	case req.ContainerID == "":
		return nil, fault.New(fault.Invalid, "join network %s: no container ID", n.record.Name)
	case req.MAC != nil && (len(req.MAC) != 6 || req.MAC[0]&1 != 0):
		return nil, fault.New(fault.Invalid, "%s is not a MAC address that a container can have (six bytes, no multicast address)", req.MAC)
	}
	return n, nil
}

func (s *Service) portRequests(ports []PortRequest) []portmap.Request {
	var reqs []portmap.Request
	for _, p := range ports {
		host := p.HostIP
		// dockerd's own default for --ip, 0.0.0.0, means IPv6 too; in a port it
		// does not.
		if !host.IsValid() && s.cfg.DefaultBindIP != netip.IPv4Unspecified() {
			host = s.cfg.DefaultBindIP
		}
		proto := p.Proto
		if proto == "" {
			proto = "tcp"
		}
		reqs = append(reqs, portmap.Request{Proto: proto, HostIP: host, First: p.HostPortFirst, Last: p.HostPortLast, ContainerPort: p.ContainerPort})
	}
	return reqs
}

func (s *Service) newRecord(n *network, req JoinRequest, ip netip.Addr, socks []portmap.Socket) *endpointRecord {
	gw := n.driver.Gateway()
	rec := &endpointRecord{ContainerID: req.ContainerID, Container: req.Name, Endpoint: Endpoint{
		Network: n.record.Name, NetworkID: n.record.ID, EndpointID: newID(),
		IP: netip.PrefixFrom(ip, gw.Bits()), Gateway: gw.Addr(), MAC: req.MAC,
	}}
	if s.cfg.DefaultGateway.IsValid() {
		rec.Gateway = s.cfg.DefaultGateway
	}
	rec.Link = driver.LinkPrefix + rec.EndpointID[:linkIDLen]
	if rec.MAC == nil {
		rec.MAC = macOf(ip)
	}
	for _, sock := range socks {
		p := boundPort(sock)
		p.File = nil
		rec.Ports = append(rec.Ports, p)
	}
	return rec
}

// remember makes the endpoint durable before its container can exist, so that a
// daemon killed now finds it.
func (s *Service) remember(rec *endpointRecord) error {
	err := s.store.Batch(func(tx *state.Tx) error {
		if err := tx.Put(cursorsBucket, rec.Network, rec.IP.Addr()); err != nil {
			return err
		}
		return tx.Put(endpointsBucket, rec.ContainerID, rec)
	})
	if err == nil {
		s.mu.Lock()
		s.endpoints[rec.ContainerID] = rec
		s.mu.Unlock()
	}
	return err
}

// forget lets go of an endpoint. It need not be durable: a daemon that finds the
// endpoint of a container that does not run lets go of it too. Whoever gets the
// address next is recorded afterwards.
func (s *Service) forget(rec *endpointRecord) {
	s.mu.Lock()
	delete(s.endpoints, rec.ContainerID)
	s.mu.Unlock()
	s.store.Later(func(tx *state.Tx) error {
		return tx.Delete(endpointsBucket, rec.ContainerID)
	}, func(err error) { s.log.Error("forget an endpoint", "container", rec.ContainerID, "error", err) })
}

func (s *Service) closePorts(socks []portmap.Socket) {
	for _, sock := range socks {
		sock.File.Close()
		s.ports.Remove(sock)
	}
}

func boundPort(s portmap.Socket) BoundPort {
	return BoundPort{Proto: s.Proto, HostIP: s.HostIP, HostPort: s.HostPort, ContainerPort: s.ContainerPort, Splice: s.Splice, File: s.File}
}

// macOf derives the MAC address from the IPv4 address, as Docker does: unique
// while the address is, and neighbours never see one address move.
func macOf(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{0x02, 0x42, b[0], b[1], b[2], b[3]}
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
