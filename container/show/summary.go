// Package show turns a container's record into the answers of the API: the
// summary of list, the full description of inspect, and list's filters.
package show

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/volume"
)

// Summary is a container in list's answer. image is the name shown for its image. A
// brief one lacks labels, mounts and networks: what a table does not show.
func Summary(r *record.Record, image string, now time.Time, brief bool) container.Summary {
	sum := container.Summary{
		ID:      r.ID,
		Names:   []string{"/" + r.Name},
		Image:   image,
		ImageID: r.ImageID,
		Command: commandLine(r),
		Created: r.Created.Unix(),
		Ports:   portSummaries(r),
		State:   r.State.Status,
		Status:  statusText(&r.State, now),
		Health:  healthSummary(&r.State),
	}
	if brief {
		return sum
	}
	sum.Labels, sum.Mounts = r.Config.Labels, mountPoints(r)
	sum.NetworkSettings = &container.NetworkSettingsSummary{Networks: networks(r)}
	if sum.Labels == nil {
		sum.Labels = map[string]string{}
	}
	sum.HostConfig.NetworkMode = string(hostConfig(r).NetworkMode)
	sum.HostConfig.Annotations = r.HostConfig.Annotations
	return sum
}

// commandLine is the command as ps shows it.
func commandLine(r *record.Record) string {
	if len(r.Args) == 0 {
		return r.Path
	}
	words := make([]string, len(r.Args))
	for i, a := range r.Args {
		words[i] = a
		if strings.Contains(a, " ") {
			words[i] = "'" + a + "'"
		}
	}
	return r.Path + " " + strings.Join(words, " ")
}

// statusText is the state in words: "Up 5 minutes", "Exited (0) 3 hours ago".
func statusText(st *record.State, now time.Time) string {
	since := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) }
	switch st.Status {
	case container.StateRunning:
		return "Up " + since(st.StartedAt) + healthText(st.Health)
	case container.StatePaused:
		return "Up " + since(st.StartedAt) + " (Paused)"
	case container.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", st.ExitCode, since(st.FinishedAt))
	case container.StateRemoving:
		return "Removal In Progress"
	case container.StateDead:
		return "Dead"
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", st.ExitCode, since(st.FinishedAt))
	}
	return "Created"
}

// healthText is the part of the state in words about the health.
func healthText(h *container.Health) string {
	switch {
	case h == nil:
		return ""
	case h.Status == container.Starting:
		return " (health: starting)"
	}
	return " (" + string(h.Status) + ")"
}

func healthSummary(st *record.State) *container.HealthSummary {
	if st.Health == nil {
		return &container.HealthSummary{Status: container.NoHealthcheck}
	}
	return &container.HealthSummary{Status: st.Health.Status, FailingStreak: st.Health.FailingStreak}
}

// portSummaries lists published ports, then those only exposed.
func portSummaries(r *record.Record) []container.PortSummary {
	out := []container.PortSummary{}
	if !r.State.Running() {
		return out
	}
	published := map[string]bool{}
	for _, p := range ports(r) {
		published[fmt.Sprintf("%d/%s", p.ContainerPort, p.Proto)] = true
		out = append(out, container.PortSummary{IP: p.HostIP, PrivatePort: p.ContainerPort, PublicPort: p.HostPort, Type: p.Proto})
	}
	for port := range r.Config.ExposedPorts {
		if !published[port.String()] && !r.HostConfig.NetworkMode.IsHost() {
			out = append(out, container.PortSummary{PrivatePort: port.Num(), Type: string(port.Proto())})
		}
	}
	slices.SortFunc(out, func(a, b container.PortSummary) int {
		switch {
		case a.PrivatePort != b.PrivatePort:
			return int(a.PrivatePort) - int(b.PrivatePort)
		case a.PublicPort != b.PublicPort:
			return int(a.PublicPort) - int(b.PublicPort)
		case a.Type != b.Type:
			return strings.Compare(a.Type, b.Type)
		}
		return a.IP.Compare(b.IP)
	})
	return out
}

func mountPoints(r *record.Record) []container.MountPoint {
	out := []container.MountPoint{}
	for _, m := range r.DataMounts() {
		p := container.MountPoint{Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination, Mode: m.Mode, RW: !m.ReadOnly, Propagation: m.Propagation}
		if m.Type == mount.TypeVolume && m.Name != "" {
			p.Driver = volume.LocalDriver
		}
		if p.Propagation == "" && m.Source != "" && m.Name == "" {
			p.Propagation = "rprivate"
		}
		out = append(out, p)
	}
	return out
}

// networks describes the container's place in its networks.
func networks(r *record.Record) map[string]*mobynet.EndpointSettings {
	out := map[string]*mobynet.EndpointSettings{}
	primary := membership.Primary(r)
	for name, wanted := range r.Endpoints {
		es := wanted.Copy()
		if es == nil {
			es = &mobynet.EndpointSettings{}
		}
		es.NetworkID = r.State.OtherNetworks[name]
		if name == primary {
			es.NetworkID = r.State.NetworkID
		}
		if r.State.Running() && r.State.Net == nil {
			es.EndpointID = r.ID // in host and none: the container itself is the endpoint
		}
		if ep := r.State.Net.Endpoint(name); ep != nil {
			fill(es, ep)
		}
		out[name] = es
	}
	return out
}

// fill enters what the container got.
func fill(es *mobynet.EndpointSettings, ep *network.Endpoint) {
	es.NetworkID, es.EndpointID, es.MacAddress = ep.NetworkID, ep.EndpointID, mobynet.HardwareAddr(ep.MAC)
	es.Gateway, es.IPv6Gateway, es.DNSNames = ep.Gateway, ep.Gateway6, ep.Names
	if ep.IP.IsValid() {
		es.IPAddress, es.IPPrefixLen = ep.IP.Addr(), ep.IP.Bits()
	}
	if ep.IP6.IsValid() {
		es.GlobalIPv6Address, es.GlobalIPv6PrefixLen = ep.IP6.Addr(), ep.IP6.Bits()
	}
}

// ports are the published ones.
func ports(r *record.Record) []network.BoundPort {
	if r.State.Net == nil {
		return nil
	}
	return r.State.Net.Ports
}

// portMap describes published ports as inspect does; an exposed port that is
// not published maps to null.
func portMap(r *record.Record) mobynet.PortMap {
	out := mobynet.PortMap{}
	if !r.State.Running() {
		return out
	}
	if r.State.Net != nil && !r.State.Net.Target().IsValid() {
		return out // there is nobody to expose ports to
	}
	for port := range r.Config.ExposedPorts {
		out[port] = nil
	}
	for _, p := range ports(r) {
		port, ok := mobynet.PortFrom(p.ContainerPort, mobynet.IPProtocol(p.Proto))
		switch {
		case !ok:
		case p.HostPort == 0: // of a routed network
			out[port] = nil
		default:
			out[port] = append(out[port], mobynet.PortBinding{HostIP: hostIP(p.HostIP), HostPort: fmt.Sprint(p.HostPort)})
		}
	}
	return out
}

func hostIP(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv4Unspecified()
	}
	return a
}
