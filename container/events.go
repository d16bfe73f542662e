package container

import (
	"maps"
	"strconv"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/volume"
)

// event publishes what happened to a container, with Docker's attributes: its
// labels, image and name, and extra.
func (s *Service) event(r *Record, action events.Action, extra map[string]string) {
	attributes := make(map[string]string, len(r.Config.Labels)+len(extra)+2)
	maps.Copy(attributes, r.Config.Labels)
	attributes["image"] = r.Config.Image
	attributes["name"] = r.Name
	maps.Copy(attributes, extra)
	s.Events.Publish(events.Message{Type: events.ContainerEventType, Action: action, Actor: events.Actor{ID: r.ID, Attributes: attributes}})
}

// networkEvent publishes that a container joined or left its network.
func (s *Service) networkEvent(r *Record, action events.Action) {
	mode := r.HostConfig.NetworkMode
	driver := "bridge"
	switch {
	case mode.IsContainer():
		return
	case mode.IsHost():
		driver = "host"
	case mode.IsNone():
		driver = "null"
	}
	s.Events.Publish(events.Message{Type: events.NetworkEventType, Action: action, Actor: events.Actor{ID: r.State.NetworkID,
		Attributes: map[string]string{"container": r.ID, "name": string(mode), "type": driver}}})
}

// volumeEvent publishes that a volume was made or removed.
func (s *Service) volumeEvent(name string, action events.Action, attributes map[string]string) {
	attributes["driver"] = volume.LocalDriver
	s.Events.Publish(events.Message{Type: events.VolumeEventType, Action: action, Actor: events.Actor{ID: name, Attributes: attributes}})
}

// mountEvents publishes that a container begins to use its volumes.
func (s *Service) mountEvents(r *Record) {
	for _, m := range r.Mounts {
		if m.Type == mount.TypeVolume {
			s.volumeEvent(m.Name, events.ActionMount, map[string]string{"container": r.ID, "destination": m.Destination,
				"propagation": string(m.Propagation), "read/write": strconv.FormatBool(!m.ReadOnly)})
		}
	}
}

// unmountEvents publishes that it does no more.
func (s *Service) unmountEvents(r *Record) {
	for _, m := range r.Mounts {
		if m.Type == mount.TypeVolume {
			s.volumeEvent(m.Name, events.ActionUnmount, map[string]string{"container": r.ID})
		}
	}
}

func exitAttributes(r *Record) map[string]string {
	return map[string]string{
		"exitCode":     strconv.Itoa(r.State.ExitCode),
		"execDuration": strconv.Itoa(int(r.State.FinishedAt.Sub(r.State.StartedAt).Seconds())),
	}
}
