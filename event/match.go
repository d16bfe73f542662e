package event

import (
	"slices"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/sampan-containers/sampan/event/filter"
)

// objectTerms are the filter terms that name an object by a prefix of its id or
// name. The term is the object's event type.
var objectTerms = []events.Type{
	events.ContainerEventType, events.DaemonEventType, events.PluginEventType, events.VolumeEventType,
	events.NetworkEventType, events.NodeEventType, events.ServiceEventType, events.SecretEventType,
	events.ConfigEventType,
}

// prefixedActions carry free text after a colon ("exec_start: sh -c …"), so
// their bare names match as prefixes.
var prefixedActions = []string{"health_status", "exec_create", "exec_start"}

// Match reports whether m passes f, by the rules of the Engine API's /events.
func Match(f filter.Args, m events.Message) bool {
	if len(f) == 0 {
		return true
	}
	if !f.Exact("type", string(m.Type)) || !f.Exact("scope", m.Scope) || !matchAction(f, string(m.Action)) {
		return false
	}
	for _, t := range objectTerms {
		if !f.Prefix(string(t), m.Actor.ID) && !f.Prefix(string(t), m.Actor.Attributes["name"]) {
			return false
		}
	}
	return matchImage(f, m) && f.Labels("label", m.Actor.Attributes)
}

func matchAction(f filter.Args, action string) bool {
	if slices.ContainsFunc(f.Get("event"), func(v string) bool { return slices.Contains(prefixedActions, v) }) {
		return f.Prefix("event", action)
	}
	return f.Exact("event", action)
}

// matchImage lets image=NAME select the image's own events and those of the
// containers made from it, with or without the tag.
func matchImage(f filter.Args, m events.Message) bool {
	if !f.Has("image") {
		return true
	}
	name := m.Actor.Attributes["image"]
	if m.Type == events.ImageEventType {
		name = m.Actor.Attributes["name"]
	}
	for _, s := range []string{m.Actor.ID, name} {
		if f.Exact("image", s) || f.Exact("image", withoutTag(s)) {
			return true
		}
	}
	return false
}

func withoutTag(image string) string {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.FamiliarName(ref)
}
