package spec

import (
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"
)

// health: the health check.
type health struct {
	cmd                                        string
	interval, timeout, startPeriod, startEvery time.Duration
	retries                                    int
	none                                       bool
	action                                     string
}

func newHealth() *health { return &health{} }

func (h *health) register(fs *pflag.FlagSet) {
	fs.StringVar(&h.cmd, "health-cmd", "", "Command that checks the container's health, or http:PORT/PATH, or tcp:PORT")
	fs.DurationVar(&h.interval, "health-interval", 0, "Time between checks (ms|s|m|h) (default 0s)")
	fs.DurationVar(&h.timeout, "health-timeout", 0, "Longest time one check may take (ms|s|m|h) (default 0s)")
	fs.DurationVar(&h.startPeriod, "health-start-period", 0, "Time to start up before failures count (ms|s|m|h) (default 0s)")
	fs.DurationVar(&h.startEvery, "health-start-interval", 0, "Time between checks during the start period (ms|s|m|h) (default 0s)")
	fs.IntVar(&h.retries, "health-retries", 0, "Consecutive failures until the container is unhealthy")
	fs.StringVar(&h.action, "health-action", "", "What to do when the container becomes unhealthy: restart, stop or none")
	fs.BoolVar(&h.none, "no-healthcheck", false, "Do not use the image's health check")
}

// actionLabel carries --health-action: the API has no field for it.
const actionLabel = "sampan.health-action"

func (h *health) apply(r *Request, _ func(string) bool) error {
	switch h.action {
	case "":
	case "restart", "stop", "none":
		if r.Config.Labels == nil {
			r.Config.Labels = map[string]string{}
		}
		r.Config.Labels[actionLabel] = h.action
	default:
		return fmt.Errorf("invalid --health-action %q: want restart, stop or none", h.action)
	}
	given := h.cmd != "" || h.interval != 0 || h.timeout != 0 || h.startPeriod != 0 || h.startEvery != 0 || h.retries != 0
	if h.none {
		if given {
			return errors.New("--no-healthcheck conflicts with --health-* options")
		}
		r.Config.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		return nil
	}
	if !given {
		return nil
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"interval", h.interval}, {"timeout", h.timeout}, {"start-period", h.startPeriod}, {"start-interval", h.startEvery}} {
		if d.value < 0 {
			return fmt.Errorf("--health-%s cannot be negative", d.name)
		}
	}
	if h.retries < 0 {
		return errors.New("--health-retries cannot be negative")
	}
	check := &container.HealthConfig{
		Interval: h.interval, Timeout: h.timeout, StartPeriod: h.startPeriod, StartInterval: h.startEvery, Retries: h.retries,
	}
	if h.cmd != "" {
		check.Test = []string{"CMD-SHELL", h.cmd}
	}
	r.Config.Healthcheck = check
	return nil
}
