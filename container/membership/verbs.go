package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/state"
)

// Service is what the verbs need of the network service.
type Service interface {
	Networks
	Connect(context.Context, network.ConnectRequest) (*network.Joined, error)
	AddPorts(ctx context.Context, containerID string, ports []network.PortRequest, hold func([]network.BoundPort) error, also func(*state.Tx) error) (*network.Joined, error)
	RemovePorts(ctx context.Context, containerID string, match func(network.BoundPort) bool, also func(*state.Tx) error) ([]network.BoundPort, *network.Joined, error)
	// Resolves tells whether the daemon answers the container's names; ServeNames
	// begins to, by the sockets that the container's shim kept, OpenResolver by new
	// ones.
	Resolves(containerID string) bool
	Joined(containerID string) (*network.Joined, error)
	// Unlinked and Relink find and mend a container that lacks the link of a network,
	// or whose default routes may be those of another state of it (moving).
	Unlinked(containerID string) bool
	Relink(ctx context.Context, containerID string, ns *os.File, moving bool) error
	ServeNames(containerID string, sockets dns.Sockets, o network.ResolverOptions) error
	OpenResolver(containerID string, ns *os.File, o network.ResolverOptions) (dns.Sockets, error)
	BuildResolvConf(network.ResolvRequest) ([]byte, error)
	Disconnect(ctx context.Context, containerID, ref string, ns *os.File, also func(*state.Tx) error) (*network.Joined, error)
}

// Dependencies are what the verbs stand on.
type Dependencies struct {
	Containers *index.Index
	Networks   Service
	Events     notice.Publisher
	Paths      *layout.Paths
	Log        *slog.Logger
}

// Verbs has connect and disconnect, and the change of published ports.
type Verbs struct{ d Dependencies }

// New returns the verbs.
func New(d Dependencies) *Verbs { return &Verbs{d} }

// NetworkConnect puts a container into one more network: at once if it runs, and
// for its next starts.
func (v *Verbs) NetworkConnect(ctx context.Context, ref string, network string, es *mobynet.EndpointSettings) error {
	e, err := v.d.Containers.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	rec := e.Record()
	name, id, err := v.d.Networks.NetworkOf(network)
	if err != nil {
		return err
	}
	if es = es.Copy(); es == nil {
		es = &mobynet.EndpointSettings{}
	}
	es.NetworkID = id
	if err := connectable(rec, name); err != nil {
		return err
	}
	r, err := endpointRequest(name, es)
	if err != nil {
		return err
	}
	if err := v.d.Networks.Check(r); err != nil {
		return err
	}
	change := func(n *record.Record) { n.Endpoints = with(rec, name, es) }
	if !rec.State.Running() {
		if _, twice := rec.Endpoints[name]; twice {
			return fault.New(fault.Forbidden, "container %s is already attached to network %s", rec.Name, name)
		}
		return v.d.Containers.Change(e, rec.State.Status, true, change)
	}
	return v.connectLive(ctx, e, r, change)
}

func connectable(rec *record.Record, name string) error {
	switch mode := rec.HostConfig.NetworkMode; {
	case rec.State.Status == container.StateRemoving || rec.State.Status == container.StateDead:
		return fault.New(fault.Conflict, "container %s is marked for removal and cannot be connected or disconnected to the network", rec.ID)
	case mode.IsContainer():
		return invalid("container sharing network namespace with another container or host cannot be connected to any other network")
	case mode.IsHost() || name == network.HostNetwork:
		return invalid("cannot connect container to host network - container must be created in host network mode, and cannot leave it for another network")
	case name == network.NoneNetwork || mode.IsNone() && rec.State.Running():
		return invalid("container cannot be connected to multiple networks with one of the networks in private (none) mode")
	}
	return nil
}

// with returns the record's endpoints and one more. A container that had none, or
// was in none, is in that network from then on.
func with(rec *record.Record, name string, es *mobynet.EndpointSettings) map[string]*mobynet.EndpointSettings {
	out := map[string]*mobynet.EndpointSettings{name: es}
	for n, o := range rec.Endpoints {
		if n != name && n != network.NoneNetwork {
			out[n] = o
		}
	}
	return out
}

func (v *Verbs) connectLive(ctx context.Context, e *index.Entry, r network.EndpointRequest, change func(*record.Record)) error {
	before := e.Record()
	after, err := v.changeLive(ctx, e, change, func(ctx context.Context, ns *os.File, also func(*state.Tx) error) (*network.Joined, error) {
		return v.d.Networks.Connect(ctx, network.ConnectRequest{ContainerID: e.ID, Name: before.Name, NetNS: ns, Endpoint: r, Also: also})
	})
	if err != nil {
		return err
	}
	v.publish(after, after.State.Net.Endpoint(r.Network), events.ActionConnect)
	if err := v.publishWaiting(context.WithoutCancel(ctx), e); err != nil {
		err = fmt.Errorf("publish the ports of container %s: %w", before.Name, err)
		return errors.Join(err, v.disconnectLive(context.WithoutCancel(ctx), e, r.Network, func(n *record.Record) { n.Endpoints = before.Endpoints }))
	}
	return nil
}

// changeLive changes the networks of a running container: do does it in the
// container's namespace, and records it in one transaction with the container.
// It returns the record as it is then.
func (v *Verbs) changeLive(ctx context.Context, e *index.Entry, change func(*record.Record), do func(context.Context, *os.File, func(*state.Tx) error) (*network.Joined, error)) (*record.Record, error) {
	live, err := e.Live()
	if err != nil {
		return nil, err
	}
	before := e.Record()
	m, err := e.Begin(before.State.Status, change)
	if err != nil {
		return nil, err
	}
	ns, err := live.Shim.Namespace(ctx, "network")
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	also, after := v.d.Containers.SaveWith(m.Next)
	ctx = context.WithoutCancel(ctx) // a client that goes away changes nothing
	done, err := v.moving(before)
	if err != nil {
		return nil, err
	}
	defer done()
	joined, err := do(ctx, ns, also)
	if err != nil {
		return nil, err
	}
	m.Next.State.Net = joined
	if err := after(); err != nil {
		return nil, err
	}
	m.Publish()
	v.changed(ctx, m.Next, live.Shim, resolved(before))
	v.retarget(ctx, live.Shim, before.State.Net, joined)
	return m.Next, nil
}

func (v *Verbs) publish(rec *record.Record, ep *network.Endpoint, action events.Action) {
	if ep != nil {
		v.d.Events.Publish(notice.Endpoint(rec.ID, ep, action))
	}
}

// NetworkDisconnect takes a container out of a network. force also forgets the
// place of a container in a network that is gone.
func (v *Verbs) NetworkDisconnect(ctx context.Context, ref string, network string, force bool) error {
	e, err := v.d.Containers.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	rec := e.Record()
	name, _, err := v.d.Networks.NetworkOf(network)
	if err != nil {
		if _, had := rec.Endpoints[network]; !had || !force {
			return err
		}
		name = network
	}
	switch _, in := rec.Endpoints[name]; {
	case rec.HostConfig.NetworkMode.IsHost() || name == "host":
		return invalid("cannot disconnect container from host network - container was created in host network mode, or never was in it")
	case rec.HostConfig.NetworkMode.IsContainer() || !in:
		return fault.New(fault.Forbidden, "container %s is not connected to network %s", rec.ID, name)
	case rec.State.Status == container.StateRemoving || rec.State.Status == container.StateDead:
		return fault.New(fault.Conflict, "container %s is marked for removal and cannot be connected or disconnected to the network", rec.ID)
	}
	change := func(n *record.Record) { n.Endpoints = without(rec, name) }
	if !rec.State.Running() || rec.State.Net.Endpoint(name) == nil {
		return v.d.Containers.Change(e, rec.State.Status, true, change)
	}
	return v.disconnectLive(ctx, e, name, change)
}

func without(rec *record.Record, name string) map[string]*mobynet.EndpointSettings {
	out := map[string]*mobynet.EndpointSettings{}
	for n, o := range rec.Endpoints {
		if n != name {
			out[n] = o
		}
	}
	return out
}

func (v *Verbs) disconnectLive(ctx context.Context, e *index.Entry, name string, change func(*record.Record)) error {
	before := e.Record()
	if _, err := v.changeLive(ctx, e, change, func(ctx context.Context, ns *os.File, also func(*state.Tx) error) (*network.Joined, error) {
		return v.d.Networks.Disconnect(ctx, e.ID, name, ns, also)
	}); err != nil {
		return err
	}
	v.publish(before, before.State.Net.Endpoint(name), events.ActionDisconnect)
	return nil
}
