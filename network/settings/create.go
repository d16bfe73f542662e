package settings

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
)

// maxName bounds a network's name, maxPools the subnets of a network.
const (
	maxName  = 250
	maxPools = 64
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// FromRequest checks a request and returns the record it asks for, with the
// subnets named in it. from finds the network of ConfigFrom.
func FromRequest(r *mobynet.CreateRequest, from func(name string) (*Network, error)) (*Network, error) {
	n := &Network{
		Name: r.Name, Driver: r.Driver, Internal: r.Internal, Attachable: r.Attachable, ConfigOnly: r.ConfigOnly,
		Options: maps.Clone(r.Options), Labels: maps.Clone(r.Labels),
		NoIPv4: r.EnableIPv4 != nil && !*r.EnableIPv4, IPv6: r.EnableIPv6 != nil && *r.EnableIPv6,
	}
	switch {
	case Predefined(r.Name):
		return nil, fault.New(fault.Forbidden, "operation is not permitted on predefined %s network", r.Name)
	case !validName.MatchString(r.Name) || len(r.Name) > maxName:
		return nil, invalid("invalid network name %q: use letters, digits, '_', '.' and '-', at most %d, the first a letter or digit", r.Name, maxName)
	case r.Scope != "" && r.Scope != "local":
		return nil, fault.New(fault.NotImplemented, "network scope %s is not available: this engine is not part of a cluster (use local)", r.Scope)
	case r.Ingress:
		return nil, fault.New(fault.NotImplemented, "an ingress network needs a cluster, which this engine is not part of")
	case r.ConfigFrom != nil && r.ConfigFrom.Network != "" && r.ConfigOnly:
		return nil, invalid("a configuration network cannot depend on another configuration network")
	}
	if err := n.ipam(r.IPAM); err != nil {
		return nil, err
	}
	if r.ConfigFrom != nil && r.ConfigFrom.Network != "" {
		if err := n.configFrom(r.ConfigFrom.Network, from); err != nil {
			return nil, err
		}
	}
	if n.ConfigOnly {
		n.Driver = Null
		return n, nil
	}
	if n.Driver == "" || n.Driver == "default" {
		n.Driver = Bridge
	}
	return n, n.check()
}

// configFrom takes the settings of a config-only network; nothing that it sets
// may be set beside it.
func (n *Network) configFrom(name string, find func(string) (*Network, error)) error {
	c, err := find(name)
	if err != nil {
		return err
	}
	switch {
	case !c.ConfigOnly:
		return fault.New(fault.Forbidden, "configuration network %q is not a configuration network (create it with --config-only)", name)
	case len(n.Pools) > 0 || len(n.Options) > 0 || len(n.Labels) > 0 || n.IPv6 || n.Internal || len(n.IPAMOptions) > 0:
		return fault.New(fault.Forbidden, "network %s takes its configuration from %s: leave out its own subnets, options, labels, --ipv6 and --internal", n.Name, name)
	}
	n.ConfigFrom, n.Pools, n.Options, n.Labels = c.Name, slices.Clone(c.Pools), maps.Clone(c.Options), maps.Clone(c.Labels)
	n.IPv6, n.NoIPv4, n.Internal, n.IPAMOptions = c.IPv6, c.NoIPv4, c.Internal, maps.Clone(c.IPAMOptions)
	return nil
}

func (n *Network) check() error {
	switch n.Driver {
	case Bridge, Macvlan, IPvlan:
	case Host, Null, "none":
		return fault.New(fault.Forbidden, "only one instance of %q network is allowed", n.Driver)
	case "overlay":
		return fault.New(fault.NotImplemented, "driver overlay needs a cluster, which this engine is not part of (use bridge)")
	default:
		return fault.New(fault.NotFound, "could not find network driver %q: plugins are not available (use bridge, macvlan or ipvlan)", n.Driver)
	}
	if n.NoIPv4 && !n.IPv6 {
		return invalid("network %s would have no addresses at all: IPv4 or IPv6 must be enabled", n.Name)
	}
	v4 := 0
	for i, p := range n.Pools {
		if p.Subnet.Addr().Is4() {
			v4++
		}
		switch {
		case p.Subnet.Addr().Is4() && n.NoIPv4:
			return invalid("network %s: the subnet %s is IPv4, which is disabled for the network", n.Name, p.Subnet)
		case p.Subnet.Addr().Is6() && !n.IPv6:
			// Docker takes the subnet and leaves it unused; that helps nobody.
			return invalid("network %s: the subnet %s is IPv6, which is not enabled for the network (add --ipv6)", n.Name, p.Subnet)
		}
		for _, o := range n.Pools[:i] {
			if o.Subnet.Overlaps(p.Subnet) {
				return fault.New(fault.Forbidden, "network %s: the subnets %s and %s overlap", n.Name, o.Subnet, p.Subnet)
			}
		}
	}
	if n.Driver == Bridge && (v4 > 1 || len(n.Pools)-v4 > 1) {
		return fault.New(fault.Forbidden, "bridge driver doesn't support multiple subnets: name one of each address family")
	}
	if n.OnWire() {
		_, err := n.Wire()
		return err
	}
	_, err := n.Bridge()
	return err
}

func (n *Network) ipam(i *mobynet.IPAM) error {
	if i == nil {
		return nil
	}
	if i.Driver != "" && i.Driver != "default" {
		return fault.New(fault.NotFound, "could not find IPAM driver %q: plugins are not available (use default)", i.Driver)
	}
	n.IPAMOptions = maps.Clone(i.Options)
	if len(i.Config) > maxPools {
		return invalid("network %s has %d subnets, more than %d", n.Name, len(i.Config), maxPools)
	}
	for _, c := range i.Config {
		if !c.Subnet.IsValid() {
			if c.Gateway.IsValid() || c.IPRange.IsValid() || len(c.AuxAddress) > 0 {
				return invalid("network %s: a gateway, a range or auxiliary addresses need the subnet they are in (--subnet)", n.Name)
			}
			continue
		}
		p := Pool{Subnet: c.Subnet.Masked(), Range: c.IPRange, Gateway: c.Gateway, Aux: maps.Clone(c.AuxAddress)}
		if p.Range.IsValid() {
			p.Range = p.Range.Masked()
		}
		if err := p.check(); err != nil {
			return err
		}
		n.Pools = append(n.Pools, p)
	}
	return nil
}

func (p Pool) check() error {
	switch {
	case p.Subnet.Addr().Is4In6():
		return invalid("invalid subnet %s: write it as an IPv4 network", p.Subnet)
	case p.Subnet.Addr().BitLen()-p.Subnet.Bits() < 2:
		return invalid("invalid subnet %s: it has no room for a gateway and a container", p.Subnet)
	case p.Subnet.Addr().IsLoopback() || p.Subnet.Addr().IsMulticast():
		return invalid("invalid subnet %s: containers cannot have such addresses", p.Subnet)
	case p.Range.IsValid() && (!p.Subnet.Contains(p.Range.Addr()) || p.Range.Bits() < p.Subnet.Bits()):
		return invalid("invalid ip-range %s: it is not inside the subnet %s", p.Range, p.Subnet)
	case p.Gateway.IsValid() && !p.Subnet.Contains(p.Gateway):
		return invalid("invalid gateway %s: it is not inside the subnet %s", p.Gateway, p.Subnet)
	}
	for name, a := range p.Aux {
		if !p.Subnet.Contains(a) {
			return invalid("invalid auxiliary address %s=%s: it is not inside the subnet %s", name, a, p.Subnet)
		}
	}
	return nil
}

// parseAddr reads the address of an option; "" is none.
func parseAddr(key, text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return a, invalid("network option %s: %q is not an IP address", key, text)
	}
	return a, nil
}
