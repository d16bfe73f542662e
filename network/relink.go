package network

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
	"github.com/sampan-containers/sampan/network/netns"
)

// survey notes which links the host has, for Unlinked.
func (s *Service) survey() error {
	conn, err := netlink.Open()
	if err != nil {
		return err
	}
	defer conn.Close()
	links := map[string]bool{}
	if err := conn.Links(func(l *netlink.Link) { links[l.Name] = true }); err != nil {
		return err
	}
	s.mu.Lock()
	s.links = links
	s.mu.Unlock()
	return nil
}

// Unlinked tells of a running container that was found by Restore whether it may lack the link
// of a network that it is in by its record: the daemon died while it connected it, or the
// bridge was removed with the links on it. Relink looks closer.
func (s *Service) Unlinked(containerID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.sandboxes[containerID]
	if b == nil || s.links == nil {
		return false
	}
	for _, e := range b.Endpoints {
		n := s.networkOf(e)
		if n == nil || n.driver == nil {
			continue
		}
		if n.record.OnWire() || !s.links[e.Link] {
			return true
		}
	}
	return false
}

// Relink makes the links that a running container lacks, with the addresses of the
// record. If it lacked one, or a change of its networks may have been left half made
// (moving), its default routes become those of the record. It is idempotent.
func (s *Service) Relink(ctx context.Context, containerID string, ns *os.File, moving bool) error {
	b := s.sandbox(containerID, "")
	sb, err := netns.OpenSandbox(ns)
	if err != nil {
		return err
	}
	defer sb.Conn.Close()
	for _, e := range b.Endpoints {
		_, err := sb.Conn.LinkByName(e.Interface)
		if err == nil {
			continue
		}
		if !errors.Is(err, unix.ENODEV) {
			return err
		}
		s.mu.Lock()
		n := s.networkOf(e)
		s.mu.Unlock()
		if n == nil || n.driver == nil {
			continue
		}
		ep := s.forDriver(b, e)
		ep.Gateway, ep.Gateway6 = netip.Addr{}, netip.Addr{}
		if err := n.driver.Attach(ctx, sb, ep); err != nil {
			return err
		}
		moving = true
		s.log.Warn("connected a container again that lacked its link", "container", b.Container, "network", e.Network)
	}
	if !moving {
		return nil
	}
	return settleRoutes(sb, b)
}

// settleRoutes makes the default routes of a container those of its record, whichever of its
// networks they are in. A route over anything else is the container's own.
func settleRoutes(sb *netns.Sandbox, b *sandbox) error {
	way4, way6 := b.ways()
	var gone, come []*netlink.Request
	for _, e := range b.Endpoints {
		link, err := sb.Conn.LinkByName(e.Interface)
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return err
		}
		for _, gw := range []struct {
			address netip.Addr
			way     bool
		}{{e.Gateway, e == way4}, {e.Gateway6, e == way6}} {
			switch {
			case !gw.address.IsValid():
			case gw.way:
				come = append(come, netlink.AddDefaultRoute(link.Index, gw.address))
			default:
				gone = append(gone, netlink.DelDefaultRoute(link.Index, gw.address))
			}
		}
	}
	return doRoutes(sb, append(gone, come...))
}
