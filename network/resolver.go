package network

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/network/etcfiles"
)

// ResolverOptions are what of a container's --dns and --dns-option its resolver
// must know. The search domains are the business of the container's resolv.conf.
type ResolverOptions struct {
	Servers []netip.Addr
	Options []string
}

func (s *Service) newResolver() error {
	var servers []netip.Addr
	for _, text := range s.cfg.DNS {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--dns %s: %w", text, err)
		}
		servers = append(servers, a)
	}
	s.resolver = dns.New(dns.Config{Names: &s.names, Servers: servers, Log: s.log})
	return nil
}

// Resolves tells whether the container is answered by the daemon's resolver.
func (s *Service) Resolves(containerID string) bool { return s.names.Resolves(containerID) }

// OpenResolver makes the resolver's sockets in a container's namespace and begins
// to answer. What it returns is for the container's shim to keep; after that the
// caller closes it.
func (s *Service) OpenResolver(containerID string, ns *os.File, o ResolverOptions) (dns.Sockets, error) {
	sockets, err := dns.Open(ns)
	if err != nil {
		return dns.Sockets{}, err
	}
	ours, err := sockets.Copy()
	if err == nil {
		err = s.ServeNames(containerID, ours, o)
	}
	if err != nil {
		sockets.Close()
		return dns.Sockets{}, err
	}
	return sockets, nil
}

// ServeNames answers a container by the sockets that its shim kept. It takes them
// over in every case.
func (s *Service) ServeNames(containerID string, sockets dns.Sockets, o ResolverOptions) error {
	_, qualified := s.resolverOptions(o.Options)
	return s.resolver.Serve(dns.Client{ID: containerID, Sockets: sockets, Servers: o.Servers, Qualified: qualified})
}

// resolverOptions returns the options of a resolv.conf that names the daemon's
// resolver. It is asked for bare names first, since it knows them, unless somebody
// says otherwise with ndots; such a name then goes outside with a domain only.
func (s *Service) resolverOptions(own []string) (options []string, qualified bool) {
	options = own
	if len(options) == 0 {
		options = s.cfg.DNSOptions
	}
	if len(options) == 0 {
		if b, err := etcfiles.ReadHost(etcfiles.HostResolv); err == nil {
			options = etcfiles.ParseResolv(b).Options
		}
	}
	for _, o := range options {
		if v, ok := strings.CutPrefix(o, "ndots:"); ok {
			if n, err := strconv.Atoi(v); err == nil && n >= 0 {
				return options, n > 0
			}
		}
	}
	return append(options[:len(options):len(options)], "ndots:0"), false
}
