package network

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/sampan-containers/sampan/network/driver"
	"github.com/sampan-containers/sampan/network/portmap"
	"github.com/sampan-containers/sampan/state"
)

// Buckets of the state store.
const (
	networksBucket  = "networks"          // name → networkRecord
	endpointsBucket = "endpoints"         // container ID → endpointRecord
	cursorsBucket   = "network-addresses" // network name → address handed out last
)

// networkRecord is a network in the state store.
type networkRecord struct {
	ID      string
	Name    string
	Driver  string
	Created time.Time
	// Address is the bridge's address in its network; it is kept so that a
	// network chosen once stays the same.
	Address netip.Prefix
}

// endpointRecord is a container's endpoint in the state store.
type endpointRecord struct {
	Endpoint
	ContainerID string
	Container   string // its name
	Link        string // the host's end of its link
}

// forDriver is the driver's view: ports that a shim splices are none of the
// kernel's.
func (r *endpointRecord) forDriver() driver.Endpoint {
	ep := driver.Endpoint{ID: r.EndpointID, ContainerID: r.ContainerID, Link: r.Link, IP: r.IP, Gateway: r.Endpoint.Gateway, MAC: r.MAC}
	for _, p := range r.Ports {
		if !p.Splice {
			ep.Ports = append(ep.Ports, driver.Port{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort})
		}
	}
	return ep
}

func (p BoundPort) socket() portmap.Socket {
	return portmap.Socket{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort, Splice: p.Splice, File: p.File}
}

// load reads the records, and makes those of the networks that always exist.
func (s *Service) load() error {
	s.endpoints = map[string]*endpointRecord{}
	return s.store.Update(func(tx *state.Tx) error {
		for name, driver := range map[string]string{DefaultNetwork: "bridge", HostNetwork: "host", NoneNetwork: "null"} {
			n := &network{}
			found, err := tx.Get(networksBucket, name, &n.record)
			if err != nil {
				return err
			}
			if !found {
				n.record = networkRecord{ID: newID(), Name: name, Driver: driver, Created: time.Now().UTC()}
				if err := tx.Put(networksBucket, name, n.record); err != nil {
					return err
				}
			}
			s.networks[name] = n
		}
		return tx.Each(endpointsBucket, func(id string, raw []byte) error {
			r := &endpointRecord{}
			if err := json.Unmarshal(raw, r); err != nil {
				return fmt.Errorf("decode the endpoint of container %s: %w", id, err)
			}
			s.endpoints[id] = r
			for _, p := range r.Ports {
				s.ports.Add(r.Container, p.socket())
			}
			return nil
		})
	})
}
