package network

import (
	"net/netip"
	"strconv"
	"strings"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/settings"
)

// minIDPrefix keeps short names from being taken for IDs.
const minIDPrefix = 4

// find returns a network by name, ID or prefix of an ID.
func (s *Service) find(ref string) (*network, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(ref)
}

// lookup is find while s.mu is held.
func (s *Service) lookup(ref string) (*network, error) {
	if ref == "" || ref == mobynet.NetworkDefault {
		ref = DefaultNetwork
	}
	named := s.networks[ref]
	var found *network
	for _, n := range s.networks {
		if n.record.ID == ref {
			return n, nil // another network may be named like this one's ID
		}
		if named != nil {
			continue
		}
		if len(ref) >= minIDPrefix && strings.HasPrefix(n.record.ID, ref) {
			if found != nil {
				return nil, fault.New(fault.Invalid, "network %s is ambiguous: more than one network has an ID that starts so (give more characters)", ref)
			}
			found = n
		}
	}
	if named != nil {
		return named, nil
	}
	if found == nil {
		return nil, fault.New(fault.NotFound, "network %s not found", ref)
	}
	return found, nil
}

// Networks lists the networks for GET /networks. The default network is left out
// while the daemon runs without a bridge.
func (s *Service) Networks() []mobynet.Inspect {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]mobynet.Inspect, 0, len(s.networks))
	for name, n := range s.networks {
		if name == DefaultNetwork && n.device == "" {
			continue
		}
		list = append(list, s.inspect(n))
	}
	return list
}

// Inspect returns one network by name, id or id prefix, or fault.NotFound.
func (s *Service) Inspect(ref string) (*mobynet.Inspect, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.lookup(ref)
	if err != nil {
		return nil, err
	}
	i := s.inspect(n)
	return &i, nil
}

func (s *Service) inspect(n *network) mobynet.Inspect {
	i := n.record.Inspect()
	if n.record.Name == DefaultNetwork && n.device != "" {
		i.IPAM.Config = s.defaultIPAM(n)
		i.Options = s.bridgeOptions()
	}
	for id, e := range n.members {
		r := mobynet.EndpointResource{EndpointID: e.EndpointID, MacAddress: mobynet.HardwareAddr(e.MAC), IPv4Address: e.IP, IPv6Address: e.IP6}
		if b := s.sandboxes[id]; b != nil {
			r.Name = b.Container
		}
		i.Containers[id] = r
	}
	return i
}

func (s *Service) defaultIPAM(n *network) []mobynet.IPAMConfig {
	first := mobynet.IPAMConfig{Subnet: n.record.Address.Masked(), Gateway: n.record.Address.Addr()}
	if p, err := netip.ParsePrefix(s.cfg.FixedCIDR); err == nil {
		first.IPRange = p
	}
	out := []mobynet.IPAMConfig{first}
	if n.record.IPv6 {
		out = append(out, mobynet.IPAMConfig{Subnet: n.record.Address6.Masked(), Gateway: n.record.Address6.Addr()})
	}
	return out
}

// bridgeOptions are the default network's options under Docker's names.
func (s *Service) bridgeOptions() map[string]string {
	bind := s.cfg.DefaultBindIP
	if !bind.IsValid() {
		bind = netip.IPv4Unspecified()
	}
	mtu := s.cfg.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	return map[string]string{
		settings.OptDefault: "true",
		settings.OptICC:     strconv.FormatBool(s.cfg.ICC),
		settings.OptMasq:    strconv.FormatBool(s.cfg.IPMasq),
		settings.OptHost4:   bind.String(),
		settings.OptName:    s.cfg.Bridge,
		settings.OptMTU:     strconv.Itoa(mtu),
	}
}

// defaultMTU is the kernel's for bridges and veths.
const defaultMTU = 1500

// NetworkOf returns the name and the ID of a network, or fault.NotFound.
func (s *Service) NetworkOf(ref string) (name, id string, err error) {
	n, err := s.find(ref)
	if err != nil {
		return "", "", err
	}
	return n.record.Name, n.record.ID, nil
}
