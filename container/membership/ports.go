package membership

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/shim/wire"
)

// PortChange says which published ports come and go. Of a port to be removed
// each binding names one; without bindings all go.
type PortChange struct {
	Add, Remove mobynet.PortMap
}

// ChangePorts changes the published ports of a container: at once if it runs, and
// for its next starts. Connections through ports that stay are not touched. First
// ports are removed, then added; a failure of the second leaves the first done.
func (v *Verbs) ChangePorts(ctx context.Context, ref string, c PortChange) error {
	e, err := v.d.Containers.Find(ref)
	if err != nil {
		return err
	}
	if err := e.Acquire(ctx); err != nil {
		return err
	}
	defer e.Release()
	rec := e.Record()
	switch mode := rec.HostConfig.NetworkMode; {
	case rec.State.Status == container.StateRemoving || rec.State.Status == container.StateDead:
		return fault.New(fault.Conflict, "container %s is marked for removal and its ports cannot be changed", rec.ID)
	case mode.IsContainer() || mode.IsHost() || mode.IsNone():
		return invalid("conflicting options: port publishing and the network mode %s", mode)
	}
	ctx = context.WithoutCancel(ctx)
	if len(c.Remove) > 0 {
		if err := v.removePorts(ctx, e, c.Remove); err != nil {
			return err
		}
	}
	if len(c.Add) > 0 {
		if err := v.addPorts(ctx, e, c.Add); err != nil {
			return err
		}
	}
	v.d.Events.Publish(notice.Container(e.Record(), events.ActionUpdate, nil))
	return nil
}

// withPorts is a change of the record's bindings.
func withPorts(bindings mobynet.PortMap) func(*record.Record) {
	return func(n *record.Record) {
		hc := *n.HostConfig
		hc.PortBindings = bindings
		n.HostConfig = &hc
	}
}

func (v *Verbs) addPorts(ctx context.Context, e *index.Entry, add mobynet.PortMap) error {
	rec := e.Record()
	wanted, err := request.Ports(&container.Config{}, &container.HostConfig{PortBindings: add})
	if err != nil {
		return err
	}
	for port := range add {
		if !port.IsValid() || port.Num() == 0 {
			return invalid("invalid port specification: %q", port.String())
		}
	}
	bindings := maps.Clone(rec.HostConfig.PortBindings)
	if bindings == nil {
		bindings = mobynet.PortMap{}
	}
	for port, list := range add {
		if len(list) == 0 {
			list = []mobynet.PortBinding{{}}
		}
		bindings[port] = append(slices.Clone(bindings[port]), list...)
	}
	if !rec.State.Running() {
		return v.d.Containers.Change(e, rec.State.Status, true, withPorts(bindings))
	}
	return v.publishLive(ctx, e, wanted, withPorts(bindings))
}

// publishWaiting binds the ports of a container that had no network to publish them on
// before, an internal one for example, and has one now.
func (v *Verbs) publishWaiting(ctx context.Context, e *index.Entry) error {
	rec := e.Record()
	target := rec.State.Net.Target()
	if len(rec.State.Net.Ports) > 0 || !target.IsValid() {
		return nil
	}
	onWire := func(ep network.Endpoint) bool {
		return ep.Driver != "" && (ep.IP.Addr() == target || ep.IP6.Addr() == target)
	}
	if slices.ContainsFunc(rec.State.Net.Endpoints, onWire) {
		return nil
	}
	wanted, err := request.Ports(rec.Config, rec.HostConfig)
	if err != nil || len(wanted) == 0 {
		return err
	}
	return v.publishLive(ctx, e, wanted, nil)
}

// publishLive publishes ports of a running container.
func (v *Verbs) publishLive(ctx context.Context, e *index.Entry, wanted []network.PortRequest, change func(*record.Record)) error {
	rec := e.Record()
	live, err := e.Live()
	if err != nil {
		return err
	}
	m, err := e.Begin(rec.State.Status, change)
	if err != nil {
		return err
	}
	also, after := v.d.Containers.SaveWith(m.Next)
	target := rec.State.Net.Target()
	var held []network.BoundPort
	ended := func() {}
	defer func() { ended() }()
	joined, err := v.d.Networks.AddPorts(ctx, e.ID, wanted, func(socks []network.BoundPort) error {
		done, err := v.pending(rec, socks)
		if err != nil {
			return err
		}
		ended = done
		for _, p := range socks {
			if err := live.Shim.Publish(ctx, wirePort(p, target), p.File); err != nil {
				return fmt.Errorf("keep the socket of port %d: %w", p.HostPort, err)
			}
			held = append(held, p)
		}
		return nil
	}, also)
	if err != nil {
		return errors.Join(err, v.letGo(ctx, live, held))
	}
	m.Next.State.Net = joined
	if err := after(); err != nil {
		return err
	}
	m.Publish()
	return nil
}

func wirePort(p network.BoundPort, target netip.Addr) wire.Port {
	return wire.Port{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, ContainerIP: target, ContainerPort: p.ContainerPort, Splice: p.Splice, Socket: true}
}

// retarget leads the ports that the shim relays to the container's address in the
// network that its way out goes by now: the one they led to may be gone.
func (v *Verbs) retarget(ctx context.Context, sh index.Shim, before, now *network.Joined) {
	target := now.Target()
	if !target.IsValid() || before != nil && before.Target() == target {
		return
	}
	for _, p := range now.Ports {
		if !p.Splice {
			continue
		}
		if err := sh.Retarget(ctx, wirePort(p, target)); err != nil {
			v.d.Log.Warn("a published port still leads to the container's address in another network; restart the container if that is gone", "port", p.HostPort, "error", err)
		}
	}
}

// letGo has the shim close sockets.
func (v *Verbs) letGo(ctx context.Context, live *index.Run, ports []network.BoundPort) (failed error) {
	for _, p := range ports {
		if p.HostPort != 0 {
			failed = errors.Join(failed, live.Shim.Publish(ctx, wirePort(p, netip.Addr{}), nil))
		}
	}
	return failed
}

func (v *Verbs) removePorts(ctx context.Context, e *index.Entry, remove mobynet.PortMap) error {
	rec := e.Record()
	bindings := maps.Clone(rec.HostConfig.PortBindings)
	found := false
	for port, which := range remove {
		had := bindings[port]
		kept := slices.DeleteFunc(slices.Clone(had), func(b mobynet.PortBinding) bool {
			return len(which) == 0 || slices.ContainsFunc(which, func(w mobynet.PortBinding) bool { return names(w, b) })
		})
		found = found || len(kept) < len(had)
		if len(kept) == 0 {
			delete(bindings, port)
		} else {
			bindings[port] = kept
		}
	}
	match := func(p network.BoundPort) bool {
		port, _ := mobynet.PortFrom(p.ContainerPort, mobynet.IPProtocol(p.Proto))
		which, ok := remove[port]
		return ok && (len(which) == 0 || slices.ContainsFunc(which, func(w mobynet.PortBinding) bool {
			return names(w, mobynet.PortBinding{HostIP: p.HostIP, HostPort: fmt.Sprint(p.HostPort)})
		}))
	}
	if rec.State.Net != nil {
		found = found || slices.ContainsFunc(rec.State.Net.Ports, match)
	}
	if !found {
		return fault.New(fault.NotFound, "container %s publishes no such port (see `sampan port %s`)", rec.Name, rec.Name)
	}
	if !rec.State.Running() {
		return v.d.Containers.Change(e, rec.State.Status, true, withPorts(bindings))
	}
	live, err := e.Live()
	if err != nil {
		return err
	}
	m, err := e.Begin(rec.State.Status, withPorts(bindings))
	if err != nil {
		return err
	}
	also, after := v.d.Containers.SaveWith(m.Next)
	if rec.State.Net != nil {
		done, err := v.pending(rec, rec.State.Net.Ports)
		if err != nil {
			return err
		}
		defer done()
	}
	gone, joined, err := v.d.Networks.RemovePorts(ctx, e.ID, match, also)
	if err != nil {
		return err
	}
	m.Next.State.Net = joined
	if err := errors.Join(after(), v.letGo(ctx, live, gone)); err != nil {
		return err
	}
	m.Publish()
	return nil
}

// names tells whether a binding given by a user names another: what it leaves
// out, or gives as every address, it does not ask for.
func names(want, b mobynet.PortBinding) bool {
	ip := !want.HostIP.IsValid() || want.HostIP == b.HostIP || want.HostIP.IsUnspecified() && !b.HostIP.IsValid()
	return ip && (want.HostPort == "" || want.HostPort == b.HostPort)
}
