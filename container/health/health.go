// Package health holds the rules of health checks: what a check runs, when, and
// what its results make of a container's health. It is pure; package probe
// runs the probes, and package index keeps the result.
package health

import (
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

// Docker's defaults for what a check does not say.
const (
	defaultInterval      = 30 * time.Second
	defaultTimeout       = 30 * time.Second
	defaultStartInterval = 5 * time.Second
	defaultRetries       = 3
)

const (
	// shortest is the least time a check may name.
	shortest = time.Millisecond
	// MaxOutput bounds the output that is kept of one probe.
	MaxOutput = 4096
	// maxResults bounds the results that are kept.
	maxResults = 5
)

// Check refuses a health check that cannot be meant, with Docker's words.
func Check(h *container.HealthConfig) error {
	if h == nil {
		return nil
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"StartPeriod", h.StartPeriod}, {"StartInterval", h.StartInterval}} {
		if d.value != 0 && d.value < shortest {
			return fault.New(fault.Invalid, "%s in Healthcheck cannot be less than %s", d.name, shortest)
		}
	}
	if h.Retries < 0 {
		return fault.New(fault.Invalid, "Retries in Healthcheck cannot be negative")
	}
	if len(h.Test) == 0 {
		return nil
	}
	switch h.Test[0] {
	case "NONE", "CMD", "CMD-SHELL":
	default:
		return fault.New(fault.Invalid, "Unknown healthcheck type '%s' (expected 'NONE', 'CMD' or 'CMD-SHELL')", h.Test[0])
	}
	if err := checkDirect(h.Test); err != nil {
		return err
	}
	return nil
}

// Merge fills in from the image's check what a request leaves out.
func Merge(own, image *container.HealthConfig) *container.HealthConfig {
	switch {
	case image == nil:
		return own
	case own == nil:
		return image
	}
	h := *own
	if len(h.Test) == 0 {
		h.Test = image.Test
	}
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&h.Interval, image.Interval}, {&h.Timeout, image.Timeout}, {&h.StartPeriod, image.StartPeriod}, {&h.StartInterval, image.StartInterval}} {
		if *d.to == 0 {
			*d.to = d.from
		}
	}
	if h.Retries == 0 {
		h.Retries = image.Retries
	}
	return &h
}

// Command is what a probe runs; nil if the container has no check.
func Command(c *container.Config) []string {
	if c.Healthcheck == nil || len(c.Healthcheck.Test) < 2 {
		return nil
	}
	test := c.Healthcheck.Test
	switch test[0] {
	case "CMD":
		return test[1:]
	case "CMD-SHELL":
		shell := c.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		return append(slices.Clone([]string(shell)), test[1:]...)
	}
	return nil
}

// Policy is a check with its defaults filled in.
type Policy struct {
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
}

// PolicyOf reads a container's check.
func PolicyOf(h *container.HealthConfig) Policy {
	p := Policy{defaultInterval, defaultTimeout, 0, defaultStartInterval, defaultRetries}
	if h == nil {
		return p
	}
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&p.Interval, h.Interval}, {&p.Timeout, h.Timeout}, {&p.StartPeriod, h.StartPeriod}, {&p.StartInterval, h.StartInterval}} {
		if d.from != 0 {
			*d.to = d.from
		}
	}
	if h.Retries != 0 {
		p.Retries = h.Retries
	}
	return p
}

// Wait is the time until the next probe of a container that has run so long.
func (p *Policy) Wait(status container.HealthStatus, ran time.Duration) time.Duration {
	if ran < p.StartPeriod && status == container.Starting {
		return p.StartInterval
	}
	return p.Interval
}

// Begun is the health of a container that has just started. The results of an
// earlier run stay until new ones push them out, as in Docker.
func Begun(last *container.Health) *container.Health {
	h := &container.Health{Status: container.Starting, Log: []*container.HealthcheckResult{}}
	if last != nil && len(last.Log) > 0 {
		h.Log = last.Log
	}
	return h
}

// Ended is the health of a container that does not run: Docker calls it unhealthy.
func Ended(last *container.Health) *container.Health {
	if last == nil {
		return nil
	}
	h := *last
	h.Status = container.Unhealthy
	return &h
}

// Next is the health after a probe. Failures within the start period, until the
// first success, do not count. Its argument stays as it is.
func (p *Policy) Next(last *container.Health, started time.Time, r *container.HealthcheckResult) *container.Health {
	h := *last
	log := h.Log
	if len(log) >= maxResults {
		log = log[len(log)-maxResults+1:]
	}
	h.Log = append(slices.Clone(log), r)
	switch {
	case r.ExitCode == 0:
		h.FailingStreak, h.Status = 0, container.Healthy
	case h.Status == container.Starting && r.Start.Sub(started) < p.StartPeriod:
	default:
		if h.FailingStreak++; h.FailingStreak >= p.Retries {
			h.Status = container.Unhealthy
		}
	}
	return &h
}
