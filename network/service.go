// Package network owns the containers' networks: it makes bridges, macvlan and ipvlan
// links, gives each container a namespace with addresses in it, publishes ports
// and writes the contents of hosts, hostname and resolv.conf. Everything reaches
// the kernel by netlink; no iptables, ip or proxy process is run.
//
// The networks, endpoints and addresses are kept in the state store, so they
// survive the daemon. Links and rules survive it too: a container keeps its
// connections while no daemon runs, and New and Restore adopt what is there.
//
// The service works in the network namespace of the process that calls New.
// What it is asked of one container it is asked by one caller at a time.
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
	"github.com/sampan-containers/sampan/network/settings"
	"github.com/sampan-containers/sampan/state"
)

// Service is the daemon's networks. It is safe for concurrent use.
type Service struct {
	cfg   Config
	log   *slog.Logger
	store *state.Store
	ports portmap.Table

	reserve  netns.Reserve
	names    names.Index
	resolver *dns.Resolver
	// making serialises the creation and removal of networks: each looks at
	// what all others use.
	making  sync.Mutex
	remover bridge.Remover

	mu        sync.Mutex
	fw        *firewall.Table     // nil until a network needs it
	networks  map[string]*network // by name
	sandboxes map[string]*sandbox // by container ID
	closed    bool
	links     map[string]bool // of the host, when Restore looked
}

// network is one network with what serves it. record and driver are fixed once
// it is in Service.networks; driver and pools are nil for host and none.
type network struct {
	record *settings.Network
	driver driver.Driver
	pools  []*ipam.Pool
	bridge *settings.BridgeOptions // of a bridge network
	device string                  // the bridge
	// members and joining are guarded by Service.mu; a network with either is
	// not removed.
	members map[string]*endpoint // by container ID
	joining int
	ended   bool
}

func newNetwork(r *settings.Network) *network {
	return &network{record: r, members: map[string]*endpoint{}}
}

// plain tells whether the network has no names for its containers.
func (n *network) plain() bool { return settings.Predefined(n.record.Name) }

// New makes or adopts the networks and their rules, and publishes again what
// the state store says is published. Endpoints of containers that ended
// meanwhile are let go by Restore.
func New(ctx context.Context, cfg Config, store *state.Store) (_ *Service, err error) {
	s := &Service{cfg: cfg, log: cfg.Log, store: store, networks: map[string]*network{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.cfg.SplicePorts = cfg.SplicePorts || cfg.NoRules
	s.ports.SpliceAll = s.cfg.SplicePorts
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
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	for _, b := range s.sandboxes {
		s.enter(b)
	}
	s.reserve.Fill()
	return s, nil
}

func (c *Config) validate() error {
	switch {
	case c.Bridge == NoBridge:
		return nil
	case !settings.ValidInterface(c.Bridge):
		return fault.New(fault.Invalid, "%q cannot be the name of a bridge (1 to 15 characters, no blank, slash, colon or percent sign)", c.Bridge)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return fault.New(fault.Invalid, "an MTU of %d is not possible (%d to %d)", c.MTU, minMTU, maxMTU)
	}
	return nil
}

// What the kernel takes for IPv4 on a veth.
const minMTU, maxMTU = 68, 65535

// enter puts a sandbox into the indexes; s.mu is held, or nobody else is there yet.
func (s *Service) enter(b *sandbox) {
	s.sandboxes[b.ContainerID] = b
	for _, e := range b.Endpoints {
		if n := s.networks[e.Network]; n != nil && n.record.ID == e.NetworkID {
			n.members[b.ContainerID] = e
			s.names.Add(names.Member{
				ContainerID: b.ContainerID, NetworkID: e.NetworkID, Network: e.Network, Internal: e.Internal, Plain: n.plain(),
				Names: e.Names, Links: e.Links, Addrs: e.Addrs(),
			})
		}
	}
}

// exit takes an endpoint out of the indexes; s.mu is held.
func (s *Service) exit(containerID string, e *endpoint) {
	if n := s.networks[e.Network]; n != nil && n.members[containerID] == e {
		delete(n.members, containerID)
	}
	s.names.Remove(containerID, e.NetworkID)
}

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

// Joined returns a container's place in its networks, or fault.NotFound.
func (s *Service) Joined(containerID string) (*Joined, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.sandboxes[containerID]
	if !ok {
		return nil, fault.New(fault.NotFound, "container %.12s is in no network", containerID)
	}
	return b.joined(), nil
}

// Close ends the service. While no container is joined it also removes the
// bridges that Sampan made and every rule; otherwise they stay for the
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
		b, bridged := n.driver.(*bridge.Bridge)
		switch {
		case n.driver == nil:
		case len(s.sandboxes) > 0:
			err = errors.Join(err, n.driver.Close())
		case bridged && n.record.Name != DefaultNetwork:
			err = errors.Join(err, b.RemoveSoon(&s.remover)) // together
		default:
			err = errors.Join(err, n.driver.Remove(context.Background()))
		}
	}
	s.remover.Wait()
	switch {
	case s.fw == nil:
	case len(s.sandboxes) > 0:
		s.fw.Close()
	default:
		err = errors.Join(err, s.fw.Remove())
	}
	return err
}
