package compat

import (
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/sampan-containers/sampan/server"
)

type containerSummary struct {
	*container.Summary
	Ports           []port
	NetworkSettings *summaryNetworks
}

type summaryNetworks struct{ Networks map[string]*endpoint }

// port omits an unpublished port's address, where the newest form has "".
type port struct {
	IP          string `json:",omitempty"`
	PrivatePort uint16
	PublicPort  uint16 `json:",omitempty"`
	Type        string
}

var summaryTable = []step[containerSummary]{
	{v1_52, func(c *containerSummary) { c.Health = nil }},
	{v1_48, func(c *containerSummary) {
		c.ImageManifestDescriptor = nil
		if c.NetworkSettings != nil {
			dropEach(c.NetworkSettings.Networks, func(e *endpoint) { e.GwPriority = nil })
		}
	}},
	{v1_46, func(c *containerSummary) { c.HostConfig.Annotations = nil }},
	{v1_44, func(c *containerSummary) {
		if c.NetworkSettings != nil {
			dropEach(c.NetworkSettings.Networks, func(e *endpoint) { e.DNSNames = nil })
		}
	}},
}

// Containers is the answer of GET /containers/json.
func Containers(v server.Version, list []container.Summary) any {
	if v >= v1_44 {
		list = slices.Clone(list)
		for i := range list {
			if list[i].HostConfig.NetworkMode == network.NetworkDefault {
				list[i].HostConfig.NetworkMode = network.NetworkBridge
			}
		}
	}
	if v >= v1_52 {
		return orEmpty(list)
	}
	all := make([]*containerSummary, len(list))
	for i := range list {
		c := &containerSummary{Summary: clone(&list[i]), Ports: make([]port, len(list[i].Ports))}
		for j, p := range list[i].Ports {
			c.Ports[j] = port{PrivatePort: p.PrivatePort, PublicPort: p.PublicPort, Type: p.Type}
			if p.IP.IsValid() {
				c.Ports[j].IP = p.IP.String()
			}
		}
		c.Mounts = orEmpty(c.Mounts)
		if n := list[i].NetworkSettings; n != nil {
			c.NetworkSettings = &summaryNetworks{endpoints(n.Networks)}
		}
		all[i] = downgrade(v, summaryTable, c)
	}
	return all
}

type waitResponse struct {
	Error      *container.WaitExitError
	StatusCode int64
}

// Wait is the answer of POST /containers/{id}/wait. Before 1.42 the error was
// never omitted.
func Wait(v server.Version, r container.WaitResponse) any {
	if v >= v1_42 {
		return r
	}
	return waitResponse{r.Error, r.StatusCode}
}
