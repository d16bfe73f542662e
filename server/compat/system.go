package compat

import (
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	"github.com/sampan-containers/sampan/server"
)

type info struct {
	*system.Info
	*kernelMemorySupport
	*kernelMemoryTCPSupport
	*bridgeNetfilter
	*executionDriver
	legacy           LegacyInfo
	RegistryConfig   *registryConfig
	CDISpecDirs      *[]string `json:",omitempty"`
	ContainerdCommit commit
	RuncCommit       commit
	InitCommit       commit
}

// LegacyInfo holds the facts about the machine that newer versions do not
// report. Old clients print warnings where they are false.
type LegacyInfo struct {
	KernelMemory, KernelMemoryTCP       bool
	BridgeNfIptables, BridgeNfIp6tables bool
}

type kernelMemorySupport struct{ KernelMemory bool }

type kernelMemoryTCPSupport struct{ KernelMemoryTCP bool }

type bridgeNetfilter struct{ BridgeNfIptables, BridgeNfIp6tables bool }

type executionDriver struct{ ExecutionDriver string }

type registryConfig struct {
	*registry.ServiceConfig
	*nondistributable
}

type nondistributable struct {
	AllowNondistributableArtifactsCIDRs     []string
	AllowNondistributableArtifactsHostnames []string
}

type commit struct {
	ID       string
	Expected *string `json:",omitempty"`
}

var infoTable = []step[info]{
	{v1_53, func(i *info) { i.NRI = nil }},
	{v1_52, func(i *info) { i.kernelMemoryTCPSupport = &kernelMemoryTCPSupport{i.legacy.KernelMemoryTCP} }},
	{v1_50, func(i *info) {
		i.DiscoveredDevices = nil
		i.bridgeNetfilter = &bridgeNetfilter{i.legacy.BridgeNfIptables, i.legacy.BridgeNfIp6tables}
	}},
	{v1_49, func(i *info) {
		i.FirewallBackend = nil
		for _, c := range []*commit{&i.ContainerdCommit, &i.RuncCommit, &i.InitCommit} {
			c.Expected = &c.ID
		}
		if i.RegistryConfig != nil {
			i.RegistryConfig.nondistributable = &nondistributable{[]string{}, []string{}}
		}
	}},
	{v1_46, func(i *info) { i.Containerd = nil }},
	{v1_44, func(i *info) {
		i.CDISpecDirs = nil
		i.Runtimes = maps.Clone(i.Runtimes)
		for name, rt := range i.Runtimes {
			i.Runtimes[name] = system.RuntimeWithStatus{Runtime: rt.Runtime}
		}
	}},
	{v1_42, func(i *info) {
		i.kernelMemorySupport = &kernelMemorySupport{i.legacy.KernelMemory}
		i.SecurityOptions = slices.Clone(i.SecurityOptions)
		for n, option := range i.SecurityOptions { // the profile's name since Docker 23
			i.SecurityOptions[n] = strings.Replace(option, "name=seccomp,profile=builtin", "name=seccomp,profile=default", 1)
		}
	}},
	{v1_25, func(i *info) {
		i.executionDriver = &executionDriver{"<not supported>"}
		names := make([]string, len(i.SecurityOptions))
		for n, option := range i.SecurityOptions { // "name=seccomp,profile=default"
			name, _, _ := strings.Cut(option, ",")
			names[n] = strings.TrimPrefix(name, "name=")
		}
		i.SecurityOptions = names
	}},
}

// Info is the answer of GET /info.
func Info(v server.Version, r *system.Info, legacy LegacyInfo) any {
	i := &info{
		Info: clone(r), CDISpecDirs: &r.CDISpecDirs, legacy: legacy,
		ContainerdCommit: commit{ID: r.ContainerdCommit.ID}, RuncCommit: commit{ID: r.RuncCommit.ID}, InitCommit: commit{ID: r.InitCommit.ID},
	}
	if r.RegistryConfig != nil {
		i.RegistryConfig = &registryConfig{ServiceConfig: r.RegistryConfig}
	}
	return downgrade(v, infoTable, i)
}

type eventMessage struct {
	*legacyEvent
	*events.Message
}

// legacyEvent comes first, as in Docker's own order. Docker dropped it in 1.52;
// here every version has it, since it is what scripts and docker-py programs read.
type legacyEvent struct {
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
}

var eventTable = []step[eventMessage]{
	{v1_42, func(e *eventMessage) {
		if _, ok := e.Actor.Attributes["execDuration"]; ok && e.Action == events.ActionDie { // added in Docker 23
			e.Message = clone(e.Message)
			e.Actor.Attributes = maps.Clone(e.Actor.Attributes)
			delete(e.Actor.Attributes, "execDuration")
		}
	}},
}

// Event is one message of GET /events, or nil if this version does not know it.
func Event(v server.Version, m *events.Message) any {
	if v < v1_46 && m.Type == events.ImageEventType && m.Action == events.ActionCreate {
		return nil
	}
	e := &eventMessage{Message: m}
	switch m.Type {
	case events.ContainerEventType:
		e.legacyEvent = &legacyEvent{string(m.Action), m.Actor.ID, m.Actor.Attributes["image"]}
	case events.ImageEventType:
		e.legacyEvent = &legacyEvent{Status: string(m.Action), ID: m.Actor.ID}
	}
	return downgrade(v, eventTable, e)
}
