// Package network owns the containers' networks: it makes the default bridge,
// gives each container a namespace with an address in it, publishes ports and
// writes the contents of hosts, hostname and resolv.conf. Everything reaches the
// kernel by netlink; no iptables, ip or proxy process is run.
//
// The networks, endpoints and addresses are kept in the state store, so they
// survive the daemon. Links and rules survive it too: a container keeps its
// connections while no daemon runs, and Restore adopts what is there.
//
// User-defined networks and IPv6 are refused by name for now.
package network

import (
	"context"
	"os"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// Service is the daemon's networks. It is safe for concurrent use.
type Service struct {
	cfg   Config
	store *state.Store
}

// New makes or adopts the default bridge and its rules.
func New(ctx context.Context, cfg Config, store *state.Store) (*Service, error) {
	return &Service{cfg: cfg, store: store}, nil
}

// Join makes a namespace with an endpoint in the request's network, and binds
// and publishes its ports. It fails whole: whatever it made is undone. A port in
// use is fault.Conflict, no address or port left is fault.Exhausted.
func (s *Service) Join(ctx context.Context, req JoinRequest) (*Sandbox, error) {
	return nil, fault.New(fault.NotImplemented, "join %s: networks are not built yet", req.Network)
}

// Isolated makes a namespace whose only link is lo, up (--network none).
func (s *Service) Isolated(ctx context.Context) (*os.File, error) {
	return nil, fault.New(fault.NotImplemented, "networks are not built yet")
}

// Leave takes back what Join gave the container: published ports, address. The
// link goes with the namespace. It is idempotent; an unknown id is no error.
func (s *Service) Leave(ctx context.Context, containerID string) error { return nil }

// Restore keeps the endpoints of the running containers and releases all others.
// It is called once after New, before the first Join.
func (s *Service) Restore(ctx context.Context, running []string) error { return nil }

// Endpoint returns the container's endpoint, or fault.NotFound.
func (s *Service) Endpoint(containerID string) (*Endpoint, error) {
	return nil, fault.New(fault.NotFound, "container %s is in no network", containerID)
}

// Networks lists the networks for GET /networks.
func (s *Service) Networks() []mobynet.Inspect { return nil }

// Inspect returns one network by name, id or id prefix, or fault.NotFound.
func (s *Service) Inspect(ref string) (*mobynet.Inspect, error) {
	return nil, fault.New(fault.NotFound, "network %s not found", ref)
}

// Close ends the service. While no container is joined it also removes the
// bridge (if Sampan made it) and every rule; otherwise they stay for the
// containers, and the next daemon adopts them.
func (s *Service) Close() error { return nil }
