package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/portmap"
	"github.com/sampan-containers/sampan/network/settings"
	"github.com/sampan-containers/sampan/state"
)

// Buckets of the state store.
const (
	networksBucket  = "networks"          // name → settings.Network
	endpointsBucket = "endpoints"         // container ID → sandbox
	cursorsBucket   = "network-addresses" // network name → address handed out last
)

// sandbox is a running container in the state store: its endpoints and ports.
// One that is in Service.sandboxes is never changed, but replaced.
type sandbox struct {
	ContainerID string
	Container   string // its name
	Endpoints   []*endpoint
	Ports       []BoundPort
	// Wanted are the ports asked for, which are bound when the container gets a
	// network with a way out.
	Wanted []PortRequest `json:",omitempty"`
}

// endpoint is an endpoint in the state store.
type endpoint struct {
	Endpoint
	Link string // the host's end of its link
}

// firstForm is what the first daemons stored: one endpoint, flat.
type firstForm struct {
	sandbox
	Endpoint
	Link string
}

func decodeSandbox(id string, raw []byte) (*sandbox, error) {
	var f firstForm
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("decode the endpoint of container %s: %w", id, err)
	}
	b := f.sandbox
	if len(b.Endpoints) == 0 && f.EndpointID != "" {
		b.Endpoints = []*endpoint{{f.Endpoint, f.Link}}
	}
	for _, e := range b.Endpoints {
		if e.Interface == "" {
			e.Interface = "eth0"
		}
	}
	return &b, nil
}

// in returns the sandbox's endpoint in a network, or nil.
func (b *sandbox) in(networkID string) *endpoint {
	i := slices.IndexFunc(b.Endpoints, func(e *endpoint) bool { return e.NetworkID == networkID })
	if i < 0 {
		return nil
	}
	return b.Endpoints[i]
}

// joined is what the outside is told.
func (b *sandbox) joined() *Joined {
	j := &Joined{Ports: slices.Clone(b.Ports)}
	for _, e := range b.Endpoints {
		j.Endpoints = append(j.Endpoints, e.Endpoint)
	}
	return j
}

// gateways chooses the endpoints that have the default routes, by position, or
// -1: the highest priority, then the first name; of IPv6 the same one if it can.
func gateways(eps []Endpoint) (v4, v6 int) {
	order := make([]int, len(eps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if d := eps[b].Priority - eps[a].Priority; d != 0 {
			return d
		}
		return strings.Compare(eps[a].Network, eps[b].Network)
	})
	v4, v6 = -1, -1
	for _, i := range order {
		if e := &eps[i]; !e.Internal {
			if v4 < 0 && e.IP.IsValid() && e.Gateway.IsValid() {
				v4 = i
			}
			if v6 < 0 && e.IP6.IsValid() && e.Gateway6.IsValid() {
				v6 = i
			}
		}
	}
	if v4 >= 0 && eps[v4].IP6.IsValid() && eps[v4].Gateway6.IsValid() {
		v6 = v4
	}
	return v4, v6
}

// ways returns the endpoints with the default routes, or nil.
func (b *sandbox) ways() (v4, v6 *endpoint) {
	var eps []Endpoint
	for _, e := range b.Endpoints {
		eps = append(eps, e.Endpoint)
	}
	i4, i6 := gateways(eps)
	if i4 >= 0 {
		v4 = b.Endpoints[i4]
	}
	if i6 >= 0 {
		v6 = b.Endpoints[i6]
	}
	return v4, v6
}

// forDriver is the driver's view of an endpoint, with the default routes and the
// ports that are its own.
func (s *Service) forDriver(b *sandbox, e *endpoint) driver.Endpoint {
	d := driver.Endpoint{
		ID: e.EndpointID, ContainerID: b.ContainerID, Link: e.Link, Name: e.Interface,
		IP: e.IP, IP6: e.IP6, LinkLocal: e.LinkLocal, MAC: e.MAC,
	}
	for _, kv := range e.Sysctls {
		key, value, _ := strings.Cut(kv, "=")
		d.Sysctls = append(d.Sysctls, driver.Sysctl{Path: key, Value: value})
	}
	v4, v6 := b.ways()
	if e == v4 {
		d.Gateway = e.Gateway
	}
	if e == v6 {
		d.Gateway6 = e.Gateway6
	}
	seen := map[driver.Port]bool{}
	for _, p := range b.Ports {
		to := v4
		if p.HostIP.Is6() {
			to = v6
		}
		if !p.HostIP.IsValid() && to == nil {
			to = v6
		}
		if e != to || p.Splice && (p.HostIP.Is4() || s.cfg.SplicePorts) {
			continue
		}
		port := driver.Port{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort}
		if !seen[port] {
			seen[port] = true
			d.Ports = append(d.Ports, port)
		}
	}
	return d
}

func (p BoundPort) socket() portmap.Socket {
	return portmap.Socket{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort, Splice: p.Splice, File: p.File}
}

// load reads the records, and makes those of the networks that always exist.
func (s *Service) load() error {
	s.sandboxes = map[string]*sandbox{}
	return s.store.Update(func(tx *state.Tx) error {
		err := tx.Each(networksBucket, func(name string, raw []byte) error {
			n := newNetwork(&settings.Network{})
			if err := json.Unmarshal(raw, n.record); err != nil {
				return fmt.Errorf("decode the network %s: %w", name, err)
			}
			s.networks[name] = n
			return nil
		})
		if err != nil {
			return err
		}
		for name, driver := range map[string]string{DefaultNetwork: settings.Bridge, HostNetwork: settings.Host, NoneNetwork: settings.Null} {
			if s.networks[name] != nil {
				continue
			}
			n := newNetwork(&settings.Network{ID: newID(), Name: name, Driver: driver, Created: time.Now().UTC()})
			s.networks[name] = n
			if err := tx.Put(networksBucket, name, n.record); err != nil {
				return err
			}
		}
		return tx.Each(endpointsBucket, func(id string, raw []byte) error {
			b, err := decodeSandbox(id, raw)
			if err != nil {
				return err
			}
			s.sandboxes[id] = b
			for _, p := range b.Ports {
				if p.HostPort != 0 {
					s.ports.Add(b.Container, p.socket())
				}
			}
			return nil
		})
	})
}

// putCursors stores which addresses were handed out last, so that the next
// daemon does not hand them out again at once.
func putCursors(tx *state.Tx, eps []*endpoint) error {
	for _, e := range eps {
		for _, p := range []netip.Prefix{e.IP, e.IP6} {
			if !p.IsValid() {
				continue
			}
			if err := tx.Put(cursorsBucket, cursorKey(e.Network, p.Addr()), p.Addr()); err != nil {
				return err
			}
		}
	}
	return nil
}

func cursorKey(network string, a netip.Addr) string {
	if a.Is6() {
		return network + "/6"
	}
	return network
}

// fill takes the addresses that are in use out of new pools.
func (s *Service) fill(n *network, pools []*ipam.Pool) error {
	for _, p := range pools {
		for _, b := range s.sandboxes {
			if e := b.in(n.record.ID); e != nil {
				p.Take(e.IP.Addr())
				p.Take(e.IP6.Addr())
			}
		}
		var cursor netip.Addr
		err := s.store.View(func(tx *state.Tx) error {
			_, err := tx.Get(cursorsBucket, cursorKey(n.record.Name, p.Network().Addr()), &cursor)
			return err
		})
		if err != nil {
			return err
		}
		p.SetCursor(cursor)
	}
	return nil
}

var errEnded = errors.New("the network is being removed")
