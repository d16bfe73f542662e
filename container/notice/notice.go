// Package notice words the events of containers, and of the networks and volumes
// they use, as Docker does: which attributes each has, and what they are called.
// Whoever brings one about publishes it, through a Publisher.
package notice

import (
	"maps"
	"strconv"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/volume"
)

// Publisher takes the events; *event.Bus is one.
type Publisher interface{ Publish(events.Message) }

// Container is what happened to a container: its labels, image and name, and extra.
func Container(r *record.Record, action events.Action, extra map[string]string) events.Message {
	attributes := make(map[string]string, len(r.Config.Labels)+len(extra)+2)
	maps.Copy(attributes, r.Config.Labels)
	attributes["image"] = r.Config.Image
	attributes["name"] = r.Name
	maps.Copy(attributes, extra)
	return message(events.ContainerEventType, action, r.ID, attributes)
}

// Exit holds the attributes of a container's end.
func Exit(r *record.Record) map[string]string {
	return map[string]string{
		"exitCode":     strconv.Itoa(r.State.ExitCode),
		"execDuration": strconv.Itoa(int(r.State.FinishedAt.Sub(r.State.StartedAt).Seconds())),
	}
}

// Network is that a container joined or left the host's network or none; ok is
// false for one in another container's.
func Network(r *record.Record, action events.Action) (m events.Message, ok bool) {
	mode := r.HostConfig.NetworkMode
	driver := "bridge"
	switch {
	case mode.IsContainer():
		return m, false
	case mode.IsHost():
		driver = "host"
	case mode.IsNone():
		driver = "null"
	}
	return message(events.NetworkEventType, action, r.State.NetworkID,
		map[string]string{"container": r.ID, "name": string(mode), "type": driver}), true
}

// Endpoint is that a container joined or left one network.
func Endpoint(containerID string, ep *network.Endpoint, action events.Action) events.Message {
	driver := ep.Driver
	if driver == "" {
		driver = "bridge"
	}
	return message(events.NetworkEventType, action, ep.NetworkID,
		map[string]string{"container": containerID, "name": ep.Network, "type": driver})
}

// Networks are that a container joined or left all its networks.
func Networks(r *record.Record, action events.Action) []events.Message {
	if r.State.Net == nil {
		if m, ok := Network(r, action); ok {
			return []events.Message{m}
		}
		return nil
	}
	var all []events.Message
	for i := range r.State.Net.Endpoints {
		all = append(all, Endpoint(r.ID, &r.State.Net.Endpoints[i], action))
	}
	return all
}

// Volume is that a volume was made or removed.
func Volume(name string, action events.Action) events.Message {
	return message(events.VolumeEventType, action, name, map[string]string{"driver": volume.LocalDriver})
}

// Mounts are that a container begins to use its volumes.
func Mounts(r *record.Record) []events.Message {
	return volumes(r, events.ActionMount, func(m events.Message, destination, propagation string, readOnly bool) {
		m.Actor.Attributes["destination"] = destination
		m.Actor.Attributes["propagation"] = propagation
		m.Actor.Attributes["read/write"] = strconv.FormatBool(!readOnly)
	})
}

// Unmounts are that it does no more.
func Unmounts(r *record.Record) []events.Message {
	return volumes(r, events.ActionUnmount, func(events.Message, string, string, bool) {})
}

func volumes(r *record.Record, action events.Action, more func(m events.Message, destination, propagation string, readOnly bool)) []events.Message {
	var all []events.Message
	for _, m := range r.Mounts {
		if m.Type == mount.TypeVolume {
			e := Volume(m.Name, action)
			e.Actor.Attributes["container"] = r.ID
			more(e, m.Destination, string(m.Propagation), m.ReadOnly)
			all = append(all, e)
		}
	}
	return all
}

func message(kind events.Type, action events.Action, id string, attributes map[string]string) events.Message {
	return events.Message{Type: kind, Action: action, Actor: events.Actor{ID: id, Attributes: attributes}}
}
