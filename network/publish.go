package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/state"
)

// AddPorts publishes more ports of a running container and returns its place in
// its networks with them. It fails whole. hold is given the bound sockets before anything
// is published: who keeps them for the container's life must have them by then.
func (s *Service) AddPorts(ctx context.Context, containerID string, ports []PortRequest, hold func([]BoundPort) error, also func(*state.Tx) error) (_ *Joined, retErr error) {
	old := s.sandbox(containerID, "")
	b := *old
	b.Ports, b.Wanted = slices.Clone(old.Ports), append(slices.Clone(old.Wanted), ports...)
	if v4, v6 := b.ways(); v4 == nil && v6 == nil {
		return nil, fault.New(fault.Conflict, "container %.12s has no network that ports can be published on", containerID)
	}
	socks, err := s.bindPorts(&b, ports)
	if err != nil {
		return nil, err
	}
	defer closeSockets(socks)
	if len(b.Ports) == len(old.Ports) {
		return nil, fault.New(fault.Conflict, "container %.12s is on the wire with an address of its own: its ports need no publishing", containerID)
	}
	defer func() {
		if retErr != nil {
			for _, p := range socks {
				s.ports.Remove(p.socket())
			}
		}
	}()
	failpoint.Hit("network.addports.bound")
	if err := hold(socks); err != nil {
		return nil, err
	}
	failpoint.Hit("network.addports.held")
	if err := s.republish(ctx, old, &b); err != nil {
		return nil, err
	}
	failpoint.Hit("network.addports.published")
	if err := s.remember(&b, nil, also); err != nil {
		return nil, fmt.Errorf("publish ports: %w", err)
	}
	return b.joined(), nil
}

// RemovePorts ends the published ports that match, and returns them and what is
// left. The sockets are with whoever holds them; the caller has them closed.
func (s *Service) RemovePorts(ctx context.Context, containerID string, match func(BoundPort) bool, also func(*state.Tx) error) (gone []BoundPort, _ *Joined, err error) {
	old := s.sandbox(containerID, "")
	b := *old
	b.Ports = nil
	for _, p := range old.Ports {
		if match(p) {
			gone = append(gone, p)
		} else {
			b.Ports = append(b.Ports, p)
		}
	}
	if err := s.republish(ctx, old, &b); err != nil {
		return nil, nil, err
	}
	failpoint.Hit("network.removeports.ended")
	if err := s.remember(&b, nil, also); err != nil {
		return nil, nil, fmt.Errorf("end published ports: %w", err)
	}
	failpoint.Hit("network.removeports.recorded")
	for _, p := range gone {
		if p.HostPort != 0 {
			s.ports.Remove(p.socket())
		}
	}
	return gone, b.joined(), nil
}

// republish brings the translated ports from those of one state to those of the
// next; a port of both is not touched.
func (s *Service) republish(ctx context.Context, from, to *sandbox) error {
	for _, e := range to.Endpoints {
		s.mu.Lock()
		n := s.networkOf(e)
		s.mu.Unlock()
		if n == nil || n.driver == nil {
			continue
		}
		before, after := s.forDriver(from, e), s.forDriver(to, e)
		added, ended := after, before
		added.Ports = without(after.Ports, before.Ports)
		ended.Ports = without(before.Ports, after.Ports)
		if len(ended.Ports) > 0 {
			if err := n.driver.Unpublish(ctx, ended); err != nil {
				return err
			}
		}
		if len(added.Ports) == 0 {
			continue
		}
		if b, ok := n.driver.(*bridge.Bridge); ok {
			if err := b.Hairpin(added); err != nil {
				return fault.Wrap(fault.Unavailable, fmt.Errorf("publish ports of container %.12s: %w", to.ContainerID, err))
			}
		}
		if err := n.driver.Publish(ctx, added); err != nil {
			return err
		}
	}
	return nil
}

func without[T comparable](list, other []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return slices.Contains(other, v) })
}
