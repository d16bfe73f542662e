package network

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/network/bridge"
	"github.com/sampan-containers/sampan/network/firewall"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/settings"
	"github.com/sampan-containers/sampan/state"
)

// Create makes a network. A refused request is fault.Invalid, a taken name
// fault.Conflict, a subnet that another network has fault.Forbidden.
//
// The steps: choose the subnets, let the bridge through the filter, make it,
// record the network. A daemon killed before the last leaves a bridge without a
// record, which the next start removes.
func (s *Service) Create(ctx context.Context, req mobynet.CreateRequest) (_ *mobynet.Inspect, retErr error) {
	s.defaultOptions(&req)
	r, err := settings.FromRequest(&req, func(name string) (*settings.Network, error) {
		n, err := s.find(name)
		if err != nil {
			return nil, err
		}
		return n.record, nil
	})
	if err != nil {
		return nil, err
	}
	s.making.Lock()
	defer s.making.Unlock()
	if err := s.creatable(r); err != nil {
		return nil, err
	}
	r.ID, r.Created = newID(), time.Now().UTC()
	n := newNetwork(r)
	if !r.ConfigOnly {
		if err := s.chooseSubnets(r); err != nil {
			return nil, err
		}
		if err := s.prepare(n); err != nil {
			return nil, err
		}
		if err := s.unshared(n); err != nil {
			return nil, err
		}
	}
	var u undo
	defer func() {
		if retErr != nil {
			u.run()
		}
	}()
	if n.device != "" {
		if err := s.admit(n); err != nil {
			return nil, err
		}
		u = append(u, func() { _ = s.fw.RemoveNetwork(n.device) })
	}
	failpoint.Hit("network.create.admitted")
	if err := s.openDriver(n); err != nil {
		return nil, err
	}
	failpoint.Hit("network.create.made")
	if n.driver != nil {
		u = append(u, func() { _ = n.driver.Remove(context.WithoutCancel(ctx)) })
	}
	if err := s.store.Batch(func(tx *state.Tx) error { return tx.Put(networksBucket, r.Name, r) }); err != nil {
		return nil, err
	}
	failpoint.Hit("network.create.recorded")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.networks[r.Name] = n
	i := r.Inspect()
	return &i, nil
}

// defaultOptions adds the daemon's options that the request does not set.
func (s *Service) defaultOptions(req *mobynet.CreateRequest) {
	driver := req.Driver
	if driver == "" || driver == "default" {
		driver = settings.Bridge
	}
	if req.ConfigOnly || req.ConfigFrom != nil && req.ConfigFrom.Network != "" || len(s.cfg.DefaultOptions[driver]) == 0 {
		return
	}
	all := maps.Clone(s.cfg.DefaultOptions[driver])
	maps.Copy(all, req.Options)
	req.Options = all
}

// creatable refuses what is there already; s.making is held.
func (s *Service) creatable(r *settings.Network) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fault.New(fault.Unavailable, "create network %s: the daemon is shutting down", r.Name)
	case s.networks[r.Name] != nil:
		return fault.New(fault.Conflict, "network with name %s already exists", r.Name)
	}
	return nil
}

// admit puts the bridge into the packet filter, which comes into being with the
// first.
func (s *Service) admit(n *network) error {
	if s.fw == nil {
		return s.openTable([]firewall.Network{s.rules(n)}, nil)
	}
	return s.fw.AddNetwork(s.rules(n))
}

// unshared refuses a bridge or parent interface that another network has.
func (s *Service) unshared(n *network) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.networks {
		if n.device != "" && o.device == n.device {
			return fault.New(fault.Conflict, "the bridge %s belongs to the network %s already", n.device, o.record.Name)
		}
		if !n.record.OnWire() || !o.record.OnWire() || o.record.ConfigOnly {
			continue
		}
		mine, _ := n.record.Wire()
		theirs, _ := o.record.Wire()
		if mine.Parent != "" && mine.Parent == theirs.Parent {
			return fault.New(fault.Forbidden, "network %s is already using parent interface %s", o.record.Name, mine.Parent)
		}
	}
	return nil
}

// chooseSubnets gives the network a subnet of each family it lacks one of, which
// nobody here uses, and refuses named ones that another network has.
func (s *Service) chooseSubnets(r *settings.Network) error {
	taken := s.subnets()
	has4, has6 := r.NoIPv4, !r.IPv6
	for _, p := range r.Pools {
		if p.Subnet.Addr().Is4() {
			has4 = true
		} else {
			has6 = true
		}
		for _, t := range taken {
			if t.subnet.Overlaps(p.Subnet) {
				return fault.New(fault.Forbidden, "Pool overlaps with other one on this address space: %s with %s of the network %s", p.Subnet, t.subnet, t.network)
			}
		}
	}
	if has4 && has6 {
		return nil
	}
	host, err := s.surveyHost("")
	if err != nil {
		return err
	}
	used := host.used
	for _, t := range taken {
		used = append(used, t.subnet)
	}
	for _, p := range r.Pools {
		used = append(used, p.Subnet)
	}
	ranges := s.cfg.DefaultPools
	if !has4 {
		four := ranges
		if !slices.ContainsFunc(ranges, func(r ipam.Range) bool { return r.Base.Addr().Is4() }) {
			four = ipam.DockerRanges()
		}
		p, err := ipam.FindFree(four, used)
		if err != nil {
			return err
		}
		r.Pools = append(r.Pools, settings.Pool{Subnet: p})
	}
	if !has6 {
		p, err := ipam.FindFree6(ranges, r.Name+"/"+s.networks[DefaultNetwork].record.ID, used)
		if err != nil {
			return err
		}
		r.Pools = append(r.Pools, settings.Pool{Subnet: p})
	}
	return nil
}

type takenSubnet struct {
	network string
	subnet  netip.Prefix
}

// subnets are those of all networks.
func (s *Service) subnets() []takenSubnet {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []takenSubnet
	for _, n := range s.networks {
		for _, p := range n.pools {
			out = append(out, takenSubnet{n.record.Name, p.Network()})
		}
	}
	return out
}

// Remove takes a network away: fault.NotFound, or fault.Forbidden for one that
// always exists or that containers are in. It returns what it was.
func (s *Service) Remove(ctx context.Context, ref string) (*mobynet.Inspect, error) {
	s.making.Lock()
	defer s.making.Unlock()
	n, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	if settings.Predefined(n.record.Name) {
		return nil, fault.New(fault.Forbidden, "%s is a pre-defined network and cannot be removed", n.record.Name)
	}
	return s.remove(ctx, n, false)
}

// remove takes a network away whose container list is empty, or with idle only
// if it is; nil then means that it is in use. s.making is held.
func (s *Service) remove(ctx context.Context, n *network, idle bool) (*mobynet.Inspect, error) {
	s.mu.Lock()
	switch {
	case len(n.members) > 0 || n.joining > 0:
		s.mu.Unlock()
		if idle {
			return nil, nil
		}
		return nil, fault.New(fault.Forbidden, "error while removing network: network %s id %s has active endpoints (disconnect or stop its containers: `sampan network inspect %s` lists them)", n.record.Name, n.record.ID, n.record.Name)
	case n.record.ConfigOnly:
		for _, o := range s.networks {
			if o.record.ConfigFrom == n.record.Name {
				s.mu.Unlock()
				if idle {
					return nil, nil
				}
				return nil, fault.New(fault.Forbidden, "configuration network %q is in use by the network %s", n.record.Name, o.record.Name)
			}
		}
	}
	n.ended = true
	s.mu.Unlock()
	err := s.store.Batch(func(tx *state.Tx) error {
		return errors.Join(tx.Delete(networksBucket, n.record.Name),
			tx.Delete(cursorsBucket, n.record.Name), tx.Delete(cursorsBucket, n.record.Name+"/6"))
	})
	s.mu.Lock()
	if err != nil {
		n.ended = false
		s.mu.Unlock()
		return nil, err
	}
	delete(s.networks, n.record.Name)
	s.mu.Unlock()
	failpoint.Hit("network.remove.recorded")
	if n.driver != nil {
		// Without its record the network is gone; what is left in the kernel
		// the next start removes.
		end := func() error { return n.driver.Remove(ctx) }
		if b, ok := n.driver.(*bridge.Bridge); ok && n.bridge.Name == "" {
			end = func() error { return b.RemoveSoon(&s.remover) }
		}
		if err := end(); err != nil {
			s.log.Error("take a network out of the kernel", "network", n.record.Name, "error", err)
		}
	}
	failpoint.Hit("network.remove.ended")
	i := n.record.Inspect()
	return &i, nil
}

// Prune removes the user-defined networks that no running container is in and
// that match; with dry it only tells which. A failure of one ends it; those
// removed are returned in every case.
func (s *Service) Prune(ctx context.Context, match func(*mobynet.Inspect) bool, dry bool) (gone []mobynet.Inspect, err error) {
	s.making.Lock()
	defer s.making.Unlock()
	s.mu.Lock()
	var all []*network
	for _, n := range s.networks {
		if !settings.Predefined(n.record.Name) {
			all = append(all, n)
		}
	}
	s.mu.Unlock()
	for _, n := range all {
		i := n.record.Inspect()
		if !match(&i) {
			continue
		}
		if dry {
			if s.idle(n) {
				gone = append(gone, i)
			}
			continue
		}
		removed, err := s.remove(ctx, n, true)
		if err != nil {
			return gone, err
		}
		if removed != nil {
			gone = append(gone, *removed)
		}
	}
	return gone, ctx.Err()
}

func (s *Service) idle(n *network) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(n.members) == 0 && n.joining == 0
}
