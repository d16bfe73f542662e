package network

import "net/netip"

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
}

// BuildHosts returns the contents of a container's /etc/hosts.
func (s *Service) BuildHosts(req HostsRequest) ([]byte, error) { return nil, nil }

// BuildResolvConf returns the contents of a container's /etc/resolv.conf.
func (s *Service) BuildResolvConf(req ResolvRequest) ([]byte, error) { return nil, nil }

// BuildHostname returns the contents of a container's /etc/hostname.
func (s *Service) BuildHostname(hostname string) []byte { return []byte(hostname + "\n") }
