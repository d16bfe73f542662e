// Package membership has what concerns a container's networks: which ones a
// create request asks for, in which order they are joined, and the verbs connect
// and disconnect, while the container runs and while it does not.
//
// A container's record holds what was asked for, by the networks' names; what it
// got, addresses and ports, is known while it runs alone.
package membership

import (
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
)

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// Networks is what a create request needs to know; *network.Service has it.
type Networks interface {
	// NetworkOf returns the name and ID of a network; an unknown one is
	// fault.NotFound.
	NetworkOf(ref string) (name, id string, err error)
	// Check tells what is wrong with a request to join.
	Check(network.EndpointRequest) error
}

// Wanted are the endpoints of a create request: the network of the mode, and
// those of the networking configuration. The default network is for a container that
// names no other: one that SDKs create with a networking configuration alone is in
// those networks only, as in Docker. What is known to be wrong is refused.
func Wanted(hc *container.HostConfig, nc *mobynet.NetworkingConfig, n Networks) (map[string]*mobynet.EndpointSettings, error) {
	mode := hc.NetworkMode
	out := map[string]*mobynet.EndpointSettings{}
	add := func(ref string, es *mobynet.EndpointSettings) error {
		name, id, err := n.NetworkOf(ref)
		if err != nil {
			return err
		}
		if es = es.Copy(); es == nil {
			es = &mobynet.EndpointSettings{}
		}
		if _, twice := out[name]; twice && ref != string(mode) {
			return invalid("the container is to join the network %s twice", name)
		}
		// Kept so that a mode which is an ID finds its network again.
		es.NetworkID = id
		out[name] = es
		if mode.IsHost() && len(es.MacAddress) > 0 {
			return invalid("conflicting options: mac-address and the network mode")
		}
		if mode.IsHost() || mode.IsNone() {
			return nil
		}
		return check(n, name, es)
	}
	if nc != nil {
		for ref, es := range nc.EndpointsConfig {
			if err := add(ref, es); err != nil {
				return nil, err
			}
		}
	}
	name, _, err := n.NetworkOf(string(mode))
	if err != nil {
		return nil, err
	}
	if _, named := out[name]; !named && (name != network.DefaultNetwork || len(out) == 0) {
		if err := add(string(mode), nil); err != nil {
			return nil, err
		}
	}
	if len(hc.Links) > 0 && mode.IsUserDefined() {
		// Clients say links twice, the oldest here only.
		es := out[name]
		for _, l := range hc.Links {
			if !slices.Contains(es.Links, l) {
				es.Links = append(es.Links, l)
			}
		}
		if err := check(n, name, es); err != nil {
			return nil, err
		}
	}
	if len(out) > 1 {
		for name := range out {
			if name == network.HostNetwork || name == network.NoneNetwork {
				return nil, invalid("conflicting options: a container in the network %s cannot be in another network", name)
			}
		}
	}
	return out, nil
}

// check refuses what a network can never give.
func check(n Networks, name string, es *mobynet.EndpointSettings) error {
	r, err := endpointRequest(name, es)
	if err != nil {
		return err
	}
	return n.Check(r)
}

// Requests are the endpoints of a record in the order of their interfaces: the
// network of the mode first, then the others by name.
func Requests(rec *record.Record) ([]network.EndpointRequest, error) {
	primary := Primary(rec)
	names := make([]string, 0, len(rec.Endpoints))
	for name := range rec.Endpoints {
		if name != primary {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if _, ok := rec.Endpoints[primary]; ok {
		names = append([]string{primary}, names...)
	}
	out := make([]network.EndpointRequest, 0, len(names))
	for _, name := range names {
		r, err := endpointRequest(name, rec.Endpoints[name])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Primary is the name of the network of the container's mode.
func Primary(rec *record.Record) string {
	mode := string(rec.HostConfig.NetworkMode)
	if _, ok := rec.Endpoints[mode]; ok {
		return mode
	}
	for name, es := range rec.Endpoints {
		if es != nil && mode != "" && strings.HasPrefix(es.NetworkID, mode) {
			return name
		}
	}
	return mode
}

// endpointRequest turns settings of the API into a request of the network service.
func endpointRequest(name string, es *mobynet.EndpointSettings) (network.EndpointRequest, error) {
	r := network.EndpointRequest{Network: name}
	if es == nil {
		return r, nil
	}
	r.MAC, r.Aliases, r.Priority, r.Options = net.HardwareAddr(es.MacAddress), es.Aliases, es.GwPriority, es.DriverOpts
	if c := es.IPAMConfig; c != nil {
		r.IP, r.IP6, r.LinkLocal = c.IPv4Address, c.IPv6Address, c.LinkLocalIPs
		if r.IP.IsValid() && !r.IP.Is4() {
			return r, invalid("invalid IPv4 address: %s", r.IP)
		}
		if r.IP6.IsValid() && (!r.IP6.Is6() || r.IP6.Is4In6()) {
			return r, invalid("invalid IPv6 address: %s", r.IP6)
		}
	}
	for _, l := range es.Links {
		target, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = target
		}
		if target == "" || alias == "" {
			return r, invalid("bad format for links: %s", l)
		}
		if r.Links == nil {
			r.Links = map[string]string{}
		}
		r.Links[alias] = target
	}
	for _, a := range slices.Concat(r.Aliases, slices.Collect(maps.Keys(r.Links))) {
		if a == "" || len(a) > maxAlias || strings.ContainsFunc(a, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
			return r, invalid("invalid alias %q of a container in the network %s", a, name)
		}
	}
	return r, nil
}

// maxAlias is the longest host name (RFC 1035).
const maxAlias = 253
