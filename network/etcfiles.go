package network

import (
	"net/netip"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/network/etcfiles"
)

// HostsRequest describes a container's /etc/hosts.
type HostsRequest struct {
	Hostname, Domainname string
	IPs                  []netip.Addr // the container's own; empty with --network none
	Extra                []string     // --add-host "name:address"; the address may be host-gateway
	HostNetwork          bool         // start from the host's own /etc/hosts
}

// ResolvRequest describes a container's /etc/resolv.conf: --dns, --dns-search
// and --dns-option.
type ResolvRequest struct {
	DNS, Search, Options []string
	HostNetwork          bool // the host's servers are reachable, loopback ones too
	Resolver             bool // the daemon's resolver answers; it knows the servers
}

// BuildHosts returns the contents of a container's /etc/hosts. A bad --add-host
// is fault.Invalid.
func (s *Service) BuildHosts(req HostsRequest) ([]byte, error) {
	h := etcfiles.Hosts{Hostname: req.Hostname, Domainname: req.Domainname, IPs: req.IPs, Extra: req.Extra, Gateway: s.cfg.HostGatewayIPs}
	if n := s.networks[DefaultNetwork]; h.Gateway == nil && n.driver != nil {
		h.Gateway = []netip.Addr{n.record.Address.Addr()}
	}
	if req.HostNetwork {
		base, err := etcfiles.ReadHost(etcfiles.HostHostsFile)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "read the host's %s: %w", etcfiles.HostHostsFile, err)
		}
		if len(base) > 0 {
			h.Base, h.IPs = base, nil
		}
	}
	return h.Build()
}

// BuildResolvConf returns the contents of a container's /etc/resolv.conf: the
// container's options, else the daemon's, else the host's file without the
// servers that a container cannot reach. A bad server is fault.Invalid.
func (s *Service) BuildResolvConf(req ResolvRequest) ([]byte, error) {
	base, err := etcfiles.ReadHost(etcfiles.HostResolv)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the host's %s: %w", etcfiles.HostResolv, err)
	}
	r := etcfiles.ParseResolv(base)
	if !req.HostNetwork {
		if r.OnlyStub() {
			if real, err := etcfiles.ReadHost(etcfiles.ResolvedConf); err == nil && len(real) > 0 {
				r = etcfiles.ParseResolv(real)
			}
		}
		r = r.Reachable(false)
	}
	if r, err = r.Override(s.cfg.DNS, s.cfg.DNSSearch, s.cfg.DNSOptions); err != nil {
		return nil, err
	}
	if r, err = r.Override(req.DNS, req.Search, req.Options); err != nil {
		return nil, err
	}
	if req.Resolver {
		r.Servers = []string{dns.Address.String()}
		r.Options, _ = s.resolverOptions(req.Options)
	}
	return r.Build(), nil
}

// BuildHostname returns the contents of a container's /etc/hostname.
func (s *Service) BuildHostname(hostname string) []byte { return []byte(hostname + "\n") }
