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
}

func newHealth() *health { return &health{} }

func (h *health) register(fs *pflag.FlagSet) {
	fs.StringVar(&h.cmd, "health-cmd", "", "Command that checks the container's health")
	fs.DurationVar(&h.interval, "health-interval", 0, "Time between checks (ms|s|m|h) (default 0s)")
	fs.DurationVar(&h.timeout, "health-timeout", 0, "Longest time one check may take (ms|s|m|h) (default 0s)")
	fs.DurationVar(&h.startPeriod, "health-start-period", 0, "Time to start up before failures count (ms|s|m|h) (default 0s)")
	fs.DurationVar(&h.startEvery, "health-start-interval", 0, "Time between checks during the start period (ms|s|m|h) (default 0s)")
	fs.IntVar(&h.retries, "health-retries", 0, "Consecutive failures until the container is unhealthy")
	fs.BoolVar(&h.none, "no-healthcheck", false, "Do not use the image's health check")
}

func (h *health) apply(r *Request, _ func(string) bool) error {
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
