package container

import (
	"maps"
	"strconv"

	"github.com/moby/moby/api/types/events"
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

// networkEvent publishes that a container joined or left a network.
func (s *Service) networkEvent(r *Record, action events.Action) {
	if ep := r.State.Endpoint; ep != nil {
		s.Events.Publish(events.Message{Type: events.NetworkEventType, Action: action, Actor: events.Actor{ID: ep.NetworkID,
			Attributes: map[string]string{"container": r.ID, "name": ep.Network, "type": "bridge"}}})
	}
}

func exitAttributes(r *Record) map[string]string {
	return map[string]string{
		"exitCode":     strconv.Itoa(r.State.ExitCode),
		"execDuration": strconv.Itoa(int(r.State.FinishedAt.Sub(r.State.StartedAt).Seconds())),
	}
}
