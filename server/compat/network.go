package compat

import (
	"github.com/moby/moby/api/types/network"
	"github.com/sampan-containers/sampan/server"
)

type networkInspect struct {
	*network.Inspect
	EnableIPv4 *bool `json:",omitempty"`
}

var networkTable = []step[networkInspect]{
	{v1_52, func(n *networkInspect) { n.Status = nil }},
	{v1_48, func(n *networkInspect) { n.EnableIPv4 = nil }},
}

// Network is the answer of GET /networks/{id}.
func Network(v server.Version, r *network.Inspect) any {
	n := &networkInspect{Inspect: clone(r), EnableIPv4: &r.EnableIPv4}
	if n.Containers == nil {
		n.Containers = map[string]network.EndpointResource{}
	}
	return downgrade(v, networkTable, n)
}

// Networks is the answer of GET /networks. Only clients below 1.28 get the
// containers in it.
func Networks(v server.Version, list []network.Inspect) any {
	all := make([]any, len(list))
	for i := range list {
		n := clone(&list[i])
		if v >= v1_28 {
			n.Containers = nil
		}
		if v >= v1_52 {
			all[i] = network.Summary{Network: n.Network}
			continue
		}
		all[i] = Network(v, n)
	}
	return all
}
