// Package network owns the containers' networks: it makes the default bridge,
// gives each container a namespace with an address in it, publishes ports and
// writes the contents of hosts, hostname and resolv.conf. Everything reaches the
// kernel by netlink; no iptables, ip or proxy process is run.
//
// The networks, endpoints and addresses are kept in the state store, so they
// survive the daemon. Links and rules survive it too: a container keeps its
// connections while no daemon runs, and New and Restore adopt what is there.
//
// The service works in the network namespace of the process that calls New.
//
// User-defined networks and IPv6 are refused by name for now.
package network

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/firewall"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/names"
	"github.com/sampan-containers/sampan/network/netns"
	"github.com/sampan-containers/sampan/network/portmap"
	"github.com/sampan-containers/sampan/state"
)

// Service is the daemon's networks. It is safe for concurrent use.
type Service struct {
	cfg   Config
	log   *slog.Logger
	store *state.Store
	ports portmap.Table

	networks map[string]*network // by name; fixed after New
	reserve  netns.Reserve
	names    names.Index
	resolver *dns.Resolver

	mu        sync.Mutex
	endpoints map[string]*endpointRecord // by container ID
	closed    bool
}

// network is one network with what serves it. driver and pool are nil for host
// and none.
type network struct {
	record networkRecord
	driver driver.Driver
	pool   *ipam.Pool
}

// New makes or adopts the default bridge and its rules, and publishes again what
// the state store says is published. Endpoints of containers that ended
// meanwhile are let go by Restore.
func New(ctx context.Context, cfg Config, store *state.Store) (*Service, error) {
	s := &Service{cfg: cfg, log: cfg.Log, store: store, networks: map[string]*network{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ports.SpliceAll = cfg.SplicePorts
	if s.cfg.Bridge == "" {
		s.cfg.Bridge = DefaultBridge
	}
	if err := s.cfg.validate(); err != nil {
		return nil, err
	}
	if err := s.newResolver(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.cfg.Bridge == NoBridge {
		s.reserve.Fill()
		return s, nil
	}
	if err := s.openBridge(ctx); err != nil {
		return nil, err
	}
	if w := firewall.LegacyWarning(s.cfg.Bridge); w != "" {
		s.log.Warn(w)
	}
	s.reserve.Fill()
	return s, nil
}

func (c *Config) validate() error {
	switch {
	case c.IPv6:
		return fault.New(fault.NotImplemented, "IPv6 on the default bridge is not available yet; start the daemon without --ipv6")
	case c.Bridge == NoBridge:
		return nil
	case !bridge.ValidName(c.Bridge):
		return fault.New(fault.Invalid, "%q cannot be the name of a bridge (1 to 15 characters, no blank, slash, colon or percent sign)", c.Bridge)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return fault.New(fault.Invalid, "an MTU of %d is not possible (%d to %d)", c.MTU, minMTU, maxMTU)
	}
	return nil
}

// What the kernel takes for IPv4 on a veth.
const minMTU, maxMTU = 68, 65535

// Isolated makes a namespace whose only link is lo, up (--network none).
func (s *Service) Isolated(ctx context.Context) (*os.File, error) {
	sb, err := s.reserve.Take()
	if err != nil {
		return nil, fault.Wrap(unavailable(err), err)
	}
	sb.Conn.Close()
	return sb.File, nil
}

// Names knows the names of the containers in user-defined networks, for the
// resolver.
func (s *Service) Names() *names.Index { return &s.names }

// Endpoint returns the container's endpoint, or fault.NotFound.
func (s *Service) Endpoint(containerID string) (*Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.endpoints[containerID]
	if !ok {
		return nil, fault.New(fault.NotFound, "container %.12s is in no network", containerID)
	}
	ep := r.Endpoint
	return &ep, nil
}

// Close ends the service. While no container is joined it also removes the
// bridge (if Sampan made it) and every rule; otherwise they stay for the
// containers, and the next daemon adopts them.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.reserve.Close()
	s.resolver.Close()
	var err error
	for _, n := range s.networks {
		switch {
		case n.driver == nil:
		case len(s.endpoints) > 0:
			err = errors.Join(err, n.driver.Close())
		default:
			err = errors.Join(err, n.driver.Remove(context.Background()))
		}
	}
	return err
}
