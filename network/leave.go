package network

import (
	"context"
	"errors"
	"slices"
)

// Leave takes back what Join gave the container: published ports, address. The
// link goes with the namespace. It is idempotent; an unknown id is no error.
func (s *Service) Leave(ctx context.Context, containerID string) error {
	s.mu.Lock()
	rec, ok := s.endpoints[containerID]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	s.resolver.Stop(containerID) // its sockets keep the namespace, and with it the link
	n := s.networks[rec.Network]
	// The rules go first: once the address is free it may be another's.
	if n != nil && n.driver != nil {
		if err := n.driver.Detach(ctx, rec.forDriver()); err != nil {
			return err
		}
	}
	s.forget(rec)
	for _, p := range rec.Ports {
		s.ports.Remove(p.socket())
	}
	if n != nil && n.pool != nil {
		n.pool.Release(rec.IP.Addr())
	}
	return nil
}

// Restore keeps the endpoints of the running containers and releases all others.
// It is called once after New, before the first Join.
func (s *Service) Restore(ctx context.Context, running []string) error {
	s.mu.Lock()
	var gone []string
	for id := range s.endpoints {
		if !slices.Contains(running, id) {
			gone = append(gone, id)
		}
	}
	s.mu.Unlock()
	var failed error
	for _, id := range gone {
		failed = errors.Join(failed, s.Leave(ctx, id))
	}
	return failed
}
