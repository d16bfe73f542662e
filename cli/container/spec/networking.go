package spec

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/cli/value"
)

// networking: the networks a container joins and what it knows of names.
type networking struct {
	networks                            value.Networks
	aliases, links, linkLocal           value.List
	ip, ip6                             net.IP
	mac                                 string
	extraHosts, dns, dnsOptions, search value.List
}

func newNetworking() *networking {
	return &networking{
		links: value.NewList(value.CheckLink), linkLocal: value.NewList(value.CheckIP), dns: value.NewList(value.CheckIP),
		search: value.NewList(value.CheckDomain), extraHosts: value.NewList(value.CheckExtraHost),
	}
}

func (n *networking) register(fs *pflag.FlagSet) {
	fs.Var(&n.networks, "network", "Connect to a network (NAME or name=NAME,ip=ADDRESS,alias=ALIAS,...)")
	fs.Var(&n.networks, "net", "Connect to a network")
	fs.Var(&n.aliases, "network-alias", "Add a name for the container within the network")
	fs.Var(&n.aliases, "net-alias", "Add a name for the container within the network")
	fs.Var(&n.links, "link", "Add a link to another container (NAME[:ALIAS])")
	fs.Var(&n.linkLocal, "link-local-ip", "Add an IPv4 or IPv6 link-local address")
	fs.IPVar(&n.ip, "ip", nil, "IPv4 address")
	fs.IPVar(&n.ip6, "ip6", nil, "IPv6 address")
	fs.StringVar(&n.mac, "mac-address", "", "MAC address")
	fs.Var(&n.extraHosts, "add-host", "Add a line to /etc/hosts (HOST:IP)")
	fs.Var(&n.dns, "dns", "DNS server")
	fs.Var(&n.dnsOptions, "dns-option", "Option for the resolver")
	fs.Var(&n.dnsOptions, "dns-opt", "Option for the resolver")
	fs.Var(&n.search, "dns-search", "DNS search domain")
	for _, old := range []string{"net", "net-alias", "dns-opt"} {
		// Registered just above, so the lookup cannot fail.
		_ = fs.MarkHidden(old)
	}
}

func (n *networking) apply(r *Request, _ func(string) bool) error {
	h := r.Host
	for _, server := range n.dns.Values {
		addr, err := netip.ParseAddr(server)
		if err != nil {
			return fmt.Errorf("invalid DNS server %q: %w", server, err)
		}
		h.DNS = append(h.DNS, addr)
	}
	h.DNSOptions, h.DNSSearch, h.ExtraHosts, h.Links = n.dnsOptions.Values, n.search.Values, n.extraHosts.Values, n.links.Values
	h.NetworkMode = "default"
	attachments := n.networks.Values
	if len(attachments) == 0 {
		attachments = []value.Attachment{{Target: "default"}}
	} else {
		h.NetworkMode = container.NetworkMode(attachments[0].Target)
	}
	endpoints := make(map[string]*network.EndpointSettings, len(attachments))
	userDefined, builtin := false, false
	for i, a := range attachments {
		mode := container.NetworkMode(a.Target)
		userDefined = userDefined || mode.IsUserDefined()
		builtin = builtin || !mode.IsUserDefined()
		if i == 0 {
			// The single-valued flags belong to the first network.
			if err := n.merge(&a); err != nil {
				return err
			}
		}
		if _, twice := endpoints[a.Target]; twice {
			return fmt.Errorf("network %q is specified multiple times", a.Target)
		}
		if !mode.IsUserDefined() && len(a.Aliases) > 0 {
			return errors.New("network-scoped aliases are only supported for user-defined networks")
		}
		if !mode.IsUserDefined() && len(a.Links) > 0 {
			return errors.New("network-scoped links are only supported for user-defined networks")
		}
		e := a.Endpoint()
		if len(n.networks.Values) == 1 && reflect.DeepEqual(e, &network.EndpointSettings{}) {
			// One plain network is said by the mode; older daemons refuse
			// more than that for host and container:NAME.
			continue
		}
		endpoints[a.Target] = e
	}
	if userDefined && builtin {
		return errors.New("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
	}
	r.Networking.EndpointsConfig = endpoints
	return nil
}

// merge puts the flags of before the long form into one attachment.
func (n *networking) merge(a *value.Attachment) error {
	conflict := func(flag, per string) error {
		return fmt.Errorf("conflicting options: cannot specify both --%s and per-network %s", flag, per)
	}
	mac, err := value.MAC(n.mac)
	if err != nil {
		return err
	}
	switch {
	case len(n.aliases.Values) > 0 && len(a.Aliases) > 0:
		return conflict("network-alias", "alias")
	case len(n.links.Values) > 0 && len(a.Links) > 0:
		return conflict("link", "links")
	case n.ip != nil && a.IPv4.IsValid():
		return conflict("ip", "IPv4 address")
	case n.ip6 != nil && a.IPv6.IsValid():
		return conflict("ip6", "IPv6 address")
	case mac != nil && a.MAC != nil:
		return conflict("mac-address", "MAC address")
	case len(n.linkLocal.Values) > 0 && len(a.LinkLocalIPs) > 0:
		return conflict("link-local-ip", "link-local IP addresses")
	}
	if len(n.aliases.Values) > 0 {
		a.Aliases = n.aliases.Values
	}
	if container.NetworkMode(a.Target).IsUserDefined() && len(n.links.Values) > 0 {
		a.Links = n.links.Values
	}
	if addr, ok := netip.AddrFromSlice(n.ip); ok {
		a.IPv4 = addr.Unmap()
	}
	if addr, ok := netip.AddrFromSlice(n.ip6); ok {
		a.IPv6 = addr
	}
	if mac != nil {
		a.MAC = mac
	}
	for _, ll := range n.linkLocal.Values {
		addr, err := netip.ParseAddr(ll)
		if err != nil {
			return fmt.Errorf("invalid link-local address %q: %w", ll, err)
		}
		a.LinkLocalIPs = append(a.LinkLocalIPs, addr)
	}
	return nil
}
