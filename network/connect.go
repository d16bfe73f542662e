package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/state"
)

// Connect puts a running container into one more network and returns its place
// in all of them. It fails whole. A container that is in the network already is
// fault.Forbidden.
//
// The steps: reserve the addresses, record the endpoint, make the link, move the
// default routes and the ports if the new network is their way.
func (s *Service) Connect(ctx context.Context, req ConnectRequest) (_ *Joined, retErr error) {
	old := s.sandbox(req.ContainerID, req.Name)
	b := *old
	b.Endpoints = slices.Clone(old.Endpoints)
	n, e, err := s.reserveEndpoint(&b, req.Endpoint)
	if err != nil {
		return nil, err
	}
	defer s.settle(n)
	var u undo
	defer func() {
		if retErr != nil {
			u.run()
		}
	}()
	u = append(u, func() { s.release(n, e) })
	b.Endpoints = append(b.Endpoints, e)
	sb, err := netns.OpenSandbox(req.NetNS)
	if err != nil {
		return nil, fault.Wrap(unavailable(err), err)
	}
	defer sb.Conn.Close()
	u = append(u, func() { s.takeBack(old, e) })
	failpoint.Hit("network.connect.reserved")
	if err := s.remember(&b, []*endpoint{e}, req.Also); err != nil {
		return nil, err
	}
	failpoint.Hit("network.connect.recorded")
	ep := s.forDriver(&b, e)
	ep.Gateway, ep.Gateway6, ep.Ports = netip.Addr{}, netip.Addr{}, nil
	if err := n.driver.Attach(ctx, sb, ep); err != nil {
		return nil, err
	}
	u = append(u, func() {
		_ = sb.Conn.Do(netlink.DeleteLink(e.Interface))
		_ = n.driver.Detach(context.WithoutCancel(ctx), ep)
	})
	failpoint.Hit("network.connect.attached")
	if err := s.rewire(ctx, sb, old, &b); err != nil {
		_ = s.rewire(context.WithoutCancel(ctx), sb, &b, old)
		return nil, err
	}
	failpoint.Hit("network.connect.rewired")
	return b.joined(), nil
}

// Disconnect takes a running container out of a network and returns its place in
// the others. A container that is not in it is fault.NotFound.
func (s *Service) Disconnect(ctx context.Context, containerID, ref string, ns *os.File, also func(*state.Tx) error) (*Joined, error) {
	n, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	old := s.sandbox(containerID, "")
	e := old.in(n.record.ID)
	if e == nil {
		return nil, fault.New(fault.NotFound, "container %.12s is not connected to the network %s", containerID, n.record.Name)
	}
	b := *old
	b.Endpoints = slices.DeleteFunc(slices.Clone(old.Endpoints), func(o *endpoint) bool { return o == e })
	sb, err := netns.OpenSandbox(ns)
	if err != nil {
		return nil, fault.Wrap(unavailable(err), err)
	}
	defer sb.Conn.Close()
	if err := s.rewire(ctx, sb, old, &b); err != nil {
		_ = s.rewire(context.WithoutCancel(ctx), sb, &b, old)
		return nil, err
	}
	failpoint.Hit("network.disconnect.rewired")
	unlink := func() error {
		if err := sb.Conn.Do(netlink.DeleteLink(e.Interface)); err != nil && !errors.Is(err, unix.ENODEV) {
			return fault.Wrap(fault.Unavailable, fmt.Errorf("disconnect container %.12s from the network %s: %w", containerID, n.record.Name, err))
		}
		return nil
	}
	// The link of a bridge goes after its record: what a daemon leaves that dies in
	// between, the next one sweeps. No sweep finds a link that is in the container alone.
	if n.device == "" {
		if err := unlink(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.exit(containerID, e)
	s.mu.Unlock()
	if err := s.remember(&b, nil, also); err != nil {
		s.mu.Lock()
		s.enter(old)
		s.mu.Unlock()
		_ = s.rewire(context.WithoutCancel(ctx), sb, &b, old)
		return nil, err
	}
	failpoint.Hit("network.disconnect.recorded")
	if n.driver != nil {
		if err := n.driver.Detach(ctx, s.forDriver(old, e)); err != nil {
			s.log.Error("take a container out of a network", "container", containerID, "network", n.record.Name, "error", err)
		}
	}
	failpoint.Hit("network.disconnect.detached")
	if n.device != "" {
		if err := unlink(); err != nil {
			s.log.Warn("the link of a container that left a network goes later", "container", containerID, "network", n.record.Name, "error", err)
		}
	}
	failpoint.Hit("network.disconnect.unlinked")
	s.freeAddresses(n, e)
	return b.joined(), nil
}

// sandbox is the container's record, or a new one for a container that is in no
// network.
func (s *Service) sandbox(containerID, name string) *sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.sandboxes[containerID]; b != nil {
		return b
	}
	return &sandbox{ContainerID: containerID, Container: name}
}

// takeBack is the undo of remember for one new endpoint.
func (s *Service) takeBack(old *sandbox, e *endpoint) {
	s.mu.Lock()
	s.exit(old.ContainerID, e)
	s.mu.Unlock()
	if err := s.remember(old, nil, nil); err != nil {
		s.log.Error("take back an endpoint", "container", old.ContainerID, "error", err)
	}
}

// rewire moves the default routes and the published ports from one state of a
// container to the next, where they differ. The links of both are there.
func (s *Service) rewire(ctx context.Context, sb *netns.Sandbox, from, to *sandbox) error {
	if err := moveRoutes(sb, from, to); err != nil {
		return fault.Wrap(fault.Unavailable, fmt.Errorf("move the default route of container %.12s: %w", to.ContainerID, err))
	}
	type change struct {
		n       *network
		e       *endpoint
		publish bool
	}
	var changes []change
	s.mu.Lock()
	for _, b := range []*sandbox{from, to} {
		for _, e := range b.Endpoints {
			n := s.networkOf(e)
			if n == nil || n.driver == nil {
				continue
			}
			if before, after := s.forDriver(from, e).Ports, s.forDriver(to, e).Ports; !slices.Equal(before, after) {
				changes = append(changes, change{n, e, b == to})
			}
		}
	}
	s.mu.Unlock()
	for _, c := range changes {
		failpoint.Hit("network.rewire.change")
		if !c.publish {
			if err := c.n.driver.Unpublish(ctx, s.forDriver(from, c.e)); err != nil {
				return err
			}
			continue
		}
		ep := s.forDriver(to, c.e)
		if len(ep.Ports) == 0 {
			continue
		}
		if b, ok := c.n.driver.(*bridge.Bridge); ok {
			if err := b.Hairpin(ep); err != nil {
				return fault.Wrap(fault.Unavailable, fmt.Errorf("publish ports of container %.12s: %w", to.ContainerID, err))
			}
		}
		if err := c.n.driver.Publish(ctx, ep); err != nil {
			return err
		}
	}
	return nil
}

func moveRoutes(sb *netns.Sandbox, from, to *sandbox) error {
	from4, from6 := from.ways()
	to4, to6 := to.ways()
	var reqs []*netlink.Request
	add := func(e *endpoint, request func(int, *endpoint) *netlink.Request) error {
		link, err := sb.Conn.LinkByName(e.Interface)
		if errors.Is(err, unix.ENODEV) {
			return nil // removed inside of the container; its routes went with it
		}
		if err == nil {
			reqs = append(reqs, request(link.Index, e))
		}
		return err
	}
	for _, way := range []struct {
		from, to *endpoint
		six      bool
	}{{from4, to4, false}, {from6, to6, true}} {
		if way.from == way.to {
			continue
		}
		gateway := func(e *endpoint) netip.Addr {
			if way.six {
				return e.Gateway6
			}
			return e.Gateway
		}
		if way.from != nil {
			err := add(way.from, func(i int, e *endpoint) *netlink.Request { return netlink.DelDefaultRoute(i, gateway(e)) })
			if err != nil {
				return err
			}
		}
		if way.to != nil {
			err := add(way.to, func(i int, e *endpoint) *netlink.Request { return netlink.AddDefaultRoute(i, gateway(e)) })
			if err != nil {
				return err
			}
		}
	}
	return doRoutes(sb, reqs)
}

func doRoutes(sb *netns.Sandbox, reqs []*netlink.Request) error {
	if len(reqs) == 0 {
		return nil
	}
	results, err := sb.Conn.DoEach(reqs...)
	if err != nil {
		return err
	}
	for _, err := range results {
		// The container may have changed its routes itself.
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

// Rename tells the other containers a container's new name.
func (s *Service) Rename(containerID, name string) error {
	s.mu.Lock()
	old, ok := s.sandboxes[containerID]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	b := *old
	b.Container, b.Endpoints = name, nil
	for _, e := range old.Endpoints {
		c := *e
		if len(c.Names) > 0 && c.Names[0] == old.Container {
			c.Names = append([]string{name}, slices.DeleteFunc(slices.Clone(c.Names[1:]), func(n string) bool { return n == name })...)
		}
		b.Endpoints = append(b.Endpoints, &c)
	}
	return s.remember(&b, nil, nil)
}
