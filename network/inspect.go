package network

import (
	"net/netip"
	"strconv"
	"strings"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
)

// minIDPrefix keeps short names from being taken for IDs.
const minIDPrefix = 4

// find returns a network by name, ID or prefix of an ID.
func (s *Service) find(ref string) (*network, error) {
	if n, ok := s.networks[ref]; ok {
		return n, nil
	}
	var found *network
	for _, n := range s.networks {
		if len(ref) >= minIDPrefix && strings.HasPrefix(n.record.ID, ref) {
			if found != nil {
				return nil, fault.New(fault.Invalid, "network %s is ambiguous: more than one network has an ID that starts so (give more characters)", ref)
			}
			found = n
		}
	}
	if found == nil {
		return nil, fault.New(fault.NotFound, "network %s not found (user-defined networks are not available yet; use bridge, host, none or container:NAME)", ref)
	}
	return found, nil
}

// Networks lists the networks for GET /networks. The default network is left out
// while the daemon runs without a bridge.
func (s *Service) Networks() []mobynet.Inspect {
	var list []mobynet.Inspect
	for _, name := range []string{DefaultNetwork, HostNetwork, NoneNetwork} {
		n := s.networks[name]
		if name == DefaultNetwork && n.driver == nil {
			continue
		}
		list = append(list, s.inspect(n))
	}
	return list
}

// Inspect returns one network by name, id or id prefix, or fault.NotFound.
func (s *Service) Inspect(ref string) (*mobynet.Inspect, error) {
	n, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	i := s.inspect(n)
	return &i, nil
}

func (s *Service) inspect(n *network) mobynet.Inspect {
	i := mobynet.Inspect{Containers: map[string]mobynet.EndpointResource{}}
	i.Network = mobynet.Network{
		Name: n.record.Name, ID: n.record.ID, Created: n.record.Created, Scope: "local", Driver: n.record.Driver,
		EnableIPv4: true, IPAM: mobynet.IPAM{Driver: "default", Config: []mobynet.IPAMConfig{}},
		Options: map[string]string{}, Labels: map[string]string{},
	}
	if n.driver == nil {
		return i
	}
	gw := n.driver.Gateway()
	ipamConfig := mobynet.IPAMConfig{Subnet: gw.Masked(), Gateway: gw.Addr()}
	if p, err := netip.ParsePrefix(s.cfg.FixedCIDR); err == nil {
		ipamConfig.IPRange = p
	}
	i.IPAM.Config = append(i.IPAM.Config, ipamConfig)
	i.Options = s.bridgeOptions()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.endpoints {
		if r.Network == n.record.Name {
			i.Containers[id] = mobynet.EndpointResource{
				Name: r.Container, EndpointID: r.EndpointID, MacAddress: mobynet.HardwareAddr(r.MAC), IPv4Address: r.IP,
			}
		}
	}
	return i
}

// bridgeOptions are the default network's options under Docker's names.
func (s *Service) bridgeOptions() map[string]string {
	const prefix = "com.docker.network.bridge."
	bind := s.cfg.DefaultBindIP
	if !bind.IsValid() {
		bind = netip.IPv4Unspecified()
	}
	mtu := s.cfg.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	return map[string]string{
		prefix + "default_bridge":       "true",
		prefix + "enable_icc":           strconv.FormatBool(s.cfg.ICC),
		prefix + "enable_ip_masquerade": strconv.FormatBool(s.cfg.IPMasq),
		prefix + "host_binding_ipv4":    bind.String(),
		prefix + "name":                 s.cfg.Bridge,
		"com.docker.network.driver.mtu": strconv.Itoa(mtu),
	}
}

// defaultMTU is the kernel's for bridges and veths.
const defaultMTU = 1500
