package network

import (
	"context"
	"errors"
	"slices"

	"github.com/sampan-containers/sampan/kernel/failpoint"
)

// Leave takes back what Join gave the container: published ports, addresses.
// The links go with the namespace. It is idempotent; an unknown id is no error.
func (s *Service) Leave(ctx context.Context, containerID string) error {
	s.mu.Lock()
	b, ok := s.sandboxes[containerID]
	var nets []*network
	if ok {
		for _, e := range b.Endpoints {
			nets = append(nets, s.networkOf(e))
		}
	}
	s.mu.Unlock()
	if !ok {
		return nil
	}
	s.resolver.Stop(containerID) // its sockets keep the namespace, and with it the link
	failpoint.Hit("network.leave.begun")
	// The rules go first: once the address is free it may be another's.
	for i, e := range b.Endpoints {
		if n := nets[i]; n != nil && n.driver != nil {
			if err := n.driver.Detach(ctx, s.forDriver(b, e)); err != nil {
				return err
			}
		}
	}
	failpoint.Hit("network.leave.unpublished")
	s.forget(b)
	failpoint.Hit("network.leave.forgotten")
	for _, p := range b.Ports {
		if p.HostPort != 0 {
			s.ports.Remove(p.socket())
		}
	}
	for i, e := range b.Endpoints {
		if nets[i] != nil {
			s.freeAddresses(nets[i], e)
		}
	}
	return nil
}

// networkOf is the network of an endpoint, or nil; s.mu is held.
func (s *Service) networkOf(e *endpoint) *network {
	if n := s.networks[e.Network]; n != nil && n.record.ID == e.NetworkID {
		return n
	}
	return nil
}

// Restore keeps the endpoints of the running containers and releases all others.
// It is called once after New, before the first Join.
func (s *Service) Restore(ctx context.Context, running []string) error {
	s.mu.Lock()
	var gone []string
	for id := range s.sandboxes {
		if !slices.Contains(running, id) {
			gone = append(gone, id)
		}
	}
	s.mu.Unlock()
	failed := s.survey()
	for _, id := range gone {
		failed = errors.Join(failed, s.Leave(ctx, id))
	}
	return failed
}
