package compat

import (
	"bytes"
	"maps"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"
	"github.com/sampan-containers/sampan/server"
)

// Fields of the wrappers below shadow those of the embedded newest form. A nil
// pointer, embedded or with omitempty, is a field that this version lacks.

type containerInspect struct {
	*container.InspectResponse
	GraphDriver     *storage.DriverData `json:",omitempty"`
	HostConfig      *hostConfig
	Config          *config
	NetworkSettings *networkSettings
}

type hostConfig struct {
	*container.HostConfig
	*kernelMemory
	*kernelMemoryTCP
}

type kernelMemory struct{ KernelMemory int64 }

type kernelMemoryTCP struct{ KernelMemoryTCP int64 }

type config struct {
	*container.Config
	OnBuild    *[]string `json:",omitempty"`
	Volumes    map[string]struct{}
	MacAddress string `json:",omitempty"`
}

// newestInspect is today's form and the flat addresses.
type newestInspect struct {
	*container.InspectResponse
	NetworkSettings *newestNetworkSettings
}

type newestNetworkSettings struct {
	*container.NetworkSettings
	*flatAddresses
}

type networkSettings struct {
	*container.NetworkSettings
	*flatAddresses
	Networks map[string]*endpoint
}

// flatAddresses are the addresses on the default bridge, as they were reported
// before a container could be in several networks. Docker dropped them in 1.52;
// here every version has them, since {{.NetworkSettings.IPAddress}} is in the
// scripts of half the world.
type flatAddresses struct {
	Bridge                 string
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []string // always null
	SecondaryIPv6Addresses []string // always null
	EndpointID             string
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
}

type endpoint struct {
	*network.EndpointSettings
	GwPriority *int      `json:",omitempty"`
	DNSNames   *[]string `json:",omitempty"`
}

var containerTable = []step[containerInspect]{
	{v1_56, func(c *containerInspect) {
		if c.HostConfig != nil && c.HostConfig.Umask != nil {
			c.HostConfig.HostConfig = clone(c.HostConfig.HostConfig)
			c.HostConfig.Umask = nil
		}
	}},
	{v1_52, func(c *containerInspect) {
		c.Storage = nil
		if c.GraphDriver == nil {
			c.GraphDriver = &storage.DriverData{Name: c.Driver}
		}
		if c.HostConfig != nil {
			c.HostConfig.kernelMemoryTCP = &kernelMemoryTCP{}
		}
		if c.Config != nil {
			c.Config.OnBuild = &c.Config.Config.OnBuild
			if len(c.Config.Volumes) == 0 {
				c.Config.Volumes = nil // null, not {}
			}
		}
	}},
	{v1_48, func(c *containerInspect) {
		c.ImageManifestDescriptor = nil
		if c.NetworkSettings != nil {
			dropEach(c.NetworkSettings.Networks, func(e *endpoint) { e.GwPriority = nil })
		}
	}},
	{v1_45, shortIDAlias},
	{v1_44, func(c *containerInspect) {
		if c.NetworkSettings != nil {
			dropEach(c.NetworkSettings.Networks, func(e *endpoint) { e.DNSNames = nil })
		}
		if c.Config != nil && c.InspectResponse.NetworkSettings != nil {
			c.Config.MacAddress = chosenMAC(c.InspectResponse.NetworkSettings.Networks[network.NetworkBridge])
		}
		if c.HostConfig != nil && slices.ContainsFunc(c.HostConfig.Mounts, shallow) {
			c.HostConfig.HostConfig = clone(c.HostConfig.HostConfig)
			c.HostConfig.Mounts = withoutShallow(c.HostConfig.Mounts)
		}
		if c.GraphDriver.Data["ID"] != "" { // added in Docker 27
			c.GraphDriver = &storage.DriverData{Name: c.GraphDriver.Name, Data: maps.Clone(c.GraphDriver.Data)}
			delete(c.GraphDriver.Data, "ID")
		}
	}},
	{v1_43, func(c *containerInspect) {
		if c.HostConfig != nil && c.HostConfig.Annotations != nil {
			c.HostConfig.HostConfig = clone(c.HostConfig.HostConfig)
			c.HostConfig.Annotations = nil
		}
	}},
	{v1_42, func(c *containerInspect) {
		if c.HostConfig != nil {
			c.HostConfig.kernelMemory = &kernelMemory{}
		}
	}},
}

// shallow tells whether a bind leaves mounts below it writable: all did before
// 1.44, and there was no field for it.
func shallow(m mount.Mount) bool { return m.BindOptions != nil && m.BindOptions.ReadOnlyNonRecursive }

func withoutShallow(list []mount.Mount) []mount.Mount {
	list = slices.Clone(list)
	for i, m := range list {
		if !shallow(m) {
			continue
		}
		options := clone(m.BindOptions)
		options.ReadOnlyNonRecursive = false
		if list[i].BindOptions = options; *options == (mount.BindOptions{}) {
			list[i].BindOptions = nil // it was added for this alone
		}
	}
	return list
}

// Container is the answer of GET /containers/{id}/json. A network "default" is
// what the client sent; since 1.44 it is told what that means.
func Container(v server.Version, r *container.InspectResponse) any {
	if v >= v1_44 && r.HostConfig != nil && r.HostConfig.NetworkMode.IsDefault() {
		r = clone(r)
		r.HostConfig = clone(r.HostConfig)
		r.HostConfig.NetworkMode = network.NetworkBridge
	}
	if v >= v1_56 {
		if r.NetworkSettings == nil {
			return r
		}
		return &newestInspect{r, &newestNetworkSettings{r.NetworkSettings, flatten(r.NetworkSettings.Networks)}}
	}
	c := &containerInspect{InspectResponse: clone(r), GraphDriver: r.GraphDriver}
	if r.HostConfig != nil {
		c.HostConfig = &hostConfig{HostConfig: r.HostConfig}
	}
	if r.Config != nil {
		c.Config = &config{Config: r.Config, Volumes: r.Config.Volumes}
		if len(r.Config.OnBuild) > 0 {
			c.Config.OnBuild = &r.Config.OnBuild
		}
	}
	if r.NetworkSettings != nil {
		c.NetworkSettings = &networkSettings{r.NetworkSettings, flatten(r.NetworkSettings.Networks), endpoints(r.NetworkSettings.Networks)}
	}
	return downgrade(v, containerTable, c)
}

func clone[T any](p *T) *T {
	c := *p
	return &c
}

func endpoints(networks map[string]*network.EndpointSettings) map[string]*endpoint {
	all := make(map[string]*endpoint, len(networks))
	for name, e := range networks {
		if e == nil {
			e = &network.EndpointSettings{}
		}
		all[name] = &endpoint{EndpointSettings: e, GwPriority: &e.GwPriority, DNSNames: &e.DNSNames}
	}
	return all
}

func dropEach(networks map[string]*endpoint, drop func(*endpoint)) {
	for _, e := range networks {
		drop(e)
	}
}

func flatten(networks map[string]*network.EndpointSettings) *flatAddresses {
	e := networks[network.NetworkBridge]
	if e == nil {
		return &flatAddresses{}
	}
	flat := &flatAddresses{
		EndpointID: e.EndpointID, MacAddress: e.MacAddress.String(),
		IPPrefixLen: e.IPPrefixLen, GlobalIPv6PrefixLen: e.GlobalIPv6PrefixLen,
	}
	for _, a := range []struct {
		to   *string
		from interface {
			IsValid() bool
			String() string
		}
	}{{&flat.Gateway, e.Gateway}, {&flat.IPAddress, e.IPAddress}, {&flat.IPv6Gateway, e.IPv6Gateway}, {&flat.GlobalIPv6Address, e.GlobalIPv6Address}} {
		if a.from.IsValid() {
			*a.to = a.from.String()
		}
	}
	return flat
}

// chosenMAC returns the address that the user asked for, which the config of a
// container held. Today's answer does not tell it from one that was derived from
// the IP address (02:42 and its four bytes), so that is compared.
func chosenMAC(e *network.EndpointSettings) string {
	if e == nil || !e.IPAddress.Is4() || len(e.MacAddress) == 0 {
		return ""
	}
	ip := e.IPAddress.As4()
	if bytes.Equal(e.MacAddress, append([]byte{0x02, 0x42}, ip[:]...)) {
		return ""
	}
	return e.MacAddress.String()
}

// shortIDAlias lists the short id and the host name among the aliases in
// user-defined networks, where DNSNames has them since 1.44.
func shortIDAlias(c *containerInspect) {
	if c.NetworkSettings == nil {
		return
	}
	for name, e := range c.NetworkSettings.Networks {
		if !container.NetworkMode(name).IsUserDefined() {
			continue
		}
		e.EndpointSettings = clone(e.EndpointSettings)
		e.Aliases = slices.Clone(e.Aliases)
		names := []string{c.ID[:min(12, len(c.ID))]}
		if c.Config != nil && c.Config.Hostname != "" {
			names = append(names, c.Config.Hostname)
		}
		for _, n := range names {
			if !slices.Contains(e.Aliases, n) {
				e.Aliases = append(e.Aliases, n)
			}
		}
	}
}
