package network

import (
	"net/netip"

	"github.com/sampan-containers/sampan/network/portmap"
	"github.com/sampan-containers/sampan/network/settings"
)

// bindPorts binds the ports of a sandbox and enters them into it, if it has a
// network that they can be published on.
func (s *Service) bindPorts(b *sandbox, ports []PortRequest) ([]BoundPort, error) {
	if len(ports) == 0 {
		return nil, nil
	}
	v4, v6 := b.ways()
	way := v4
	if way == nil {
		way = v6
	}
	if way == nil {
		return nil, nil // only internal networks: there is nobody to publish for
	}
	s.mu.Lock()
	n := s.networkOf(way)
	s.mu.Unlock()
	if n == nil || n.bridge == nil {
		return nil, nil // macvlan: the container is on the wire itself
	}
	if n.bridge.Mode4 == settings.Routed && way == v4 || n.bridge.Mode6 == settings.Routed && way == v6 && v4 == nil {
		for _, p := range ports {
			b.Ports = append(b.Ports, BoundPort{Proto: protoOf(p), ContainerPort: p.ContainerPort})
		}
		return nil, nil
	}
	socks, err := s.ports.Bind(b.Container, s.portRequests(n, ports, v4 != nil, v6 != nil))
	if err != nil {
		return nil, err
	}
	out := make([]BoundPort, 0, len(socks))
	for _, sock := range socks {
		p := BoundPort{Proto: sock.Proto, HostIP: sock.HostIP, HostPort: sock.HostPort, ContainerPort: sock.ContainerPort, Splice: sock.Splice, File: sock.File}
		out = append(out, p)
		p.File = nil
		b.Ports = append(b.Ports, p)
	}
	return out, nil
}

func protoOf(p PortRequest) string {
	if p.Proto == "" {
		return "tcp"
	}
	return p.Proto
}

func (s *Service) portRequests(n *network, ports []PortRequest, to4, to6 bool) []portmap.Request {
	var reqs []portmap.Request
	for _, p := range ports {
		host := p.HostIP
		if !host.IsValid() {
			host = n.bridge.HostIP
		}
		// dockerd's own default for --ip, 0.0.0.0, means IPv6 too; in a port it
		// does not.
		if !host.IsValid() && s.cfg.DefaultBindIP != netip.IPv4Unspecified() {
			host = s.cfg.DefaultBindIP
		}
		reqs = append(reqs, portmap.Request{Proto: protoOf(p), HostIP: host, First: p.HostPortFirst, Last: p.HostPortLast,
			ContainerPort: p.ContainerPort, To4: to4, To6: to6})
	}
	return reqs
}

func (s *Service) closePorts(socks []BoundPort) {
	for _, p := range socks {
		p.File.Close()
		s.ports.Remove(p.socket())
	}
}
