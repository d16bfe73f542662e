package container

import (
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/notice"
)

// event publishes what happened to a container.
func (s *Service) event(r *Record, action events.Action, extra map[string]string) {
	s.Events.Publish(notice.Container(r, action, extra))
}

// networkEvent publishes that a container joined or left its networks.
func (s *Service) networkEvent(r *Record, action events.Action) {
	s.publish(notice.Networks(r, action))
}

func (s *Service) publish(all []events.Message) {
	for _, m := range all {
		s.Events.Publish(m)
	}
}
