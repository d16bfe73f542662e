package container

import (
	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/index"
)

// unhealthy does what a container's health action says.
func (s *Service) unhealthy(e *index.Entry, r *index.Run) {
	action := e.Record().HealthAction
	if action == "" {
		return
	}
	s.work.Go(func() {
		ctx := s.work.Ending()
		if e.Run() != r || s.work.Closing() {
			return
		}
		s.log.Info("a container is unhealthy", "container", e.ID, "action", action)
		var err error
		if action == health.ActionRestart {
			err = s.Restart(ctx, e.ID, StopOptions{})
		} else {
			err = s.stop(ctx, e, StopOptions{})
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("act upon the health of a container", "container", e.ID, "action", action, "error", err)
		}
	})
}
