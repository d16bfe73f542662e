package container

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/fault"
)

// listFilters are the keys of docker ps --filter.
var listFilters = []string{"ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task", "isolation",
	"label", "name", "network", "publish", "since", "status", "volume"}

// compiled is a Filters value whose references have been looked up.
type compiled struct {
	Filters
	before, since   time.Time
	exited          []int
	ancestors       map[string]bool // image ids
	publish, expose []mobynet.PortRange
	isTask, hasTask bool
}

func (s *Service) compileFilters(ctx context.Context, f Filters) (*compiled, error) {
	if err := f.Validate(listFilters...); err != nil {
		return nil, err
	}
	c := &compiled{Filters: f}
	var err error
	for _, v := range f.Get("status") {
		if err := container.ValidateContainerState(container.ContainerState(v)); err != nil {
			return nil, fault.Wrap(fault.Invalid, err)
		}
	}
	for _, v := range f.Get("health") {
		if err := container.ValidateHealthStatus(container.HealthStatus(v)); err != nil {
			return nil, fault.Wrap(fault.Invalid, err)
		}
	}
	for _, v := range f.Get("exited") {
		code, err := strconv.Atoi(v)
		if err != nil {
			return nil, invalid("invalid filter 'exited=%s'", v)
		}
		c.exited = append(c.exited, code)
	}
	if c.before, err = s.bound(f.Get("before"), true); err != nil {
		return nil, err
	}
	if c.since, err = s.bound(f.Get("since"), false); err != nil {
		return nil, err
	}
	if c.publish, err = portRanges("publish", f.Get("publish")); err != nil {
		return nil, err
	}
	if c.expose, err = portRanges("expose", f.Get("expose")); err != nil {
		return nil, err
	}
	if c.hasTask = f.Has("is-task"); c.hasTask {
		if c.isTask, err = f.Bool("is-task", false); err != nil {
			return nil, err
		}
	}
	if f.Has("ancestor") {
		c.ancestors = map[string]bool{}
		for _, ref := range f.Get("ancestor") {
			// An image that does not exist selects nothing, and is no error.
			if img, err := s.Images.Get(ctx, ref); err == nil {
				c.ancestors[img.ID.String()] = true
			}
		}
	}
	return c, nil
}

// bound is the time of creation of the earliest (before) or latest (since)
// container named.
func (s *Service) bound(refs []string, earliest bool) (time.Time, error) {
	var t time.Time
	for _, ref := range refs {
		e, err := s.find(ref)
		if err != nil {
			return t, err
		}
		created := e.record().Created
		if t.IsZero() || earliest == created.Before(t) {
			t = created
		}
	}
	return t, nil
}

func portRanges(key string, values []string) ([]mobynet.PortRange, error) {
	var out []mobynet.PortRange
	for _, v := range values {
		r, err := mobynet.ParsePortRange(v)
		if err != nil {
			return nil, invalid("invalid filter '%s=%s': %v", key, v, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (c *compiled) impliesAll() bool {
	return c.Has("status") || c.Has("exited") || c.Has("before") || c.Has("since")
}

func (c *compiled) match(r *Record) bool {
	if !c.matchName(r.Name) || !c.Prefix("id", r.ID) || !c.Labels("label", r.Config.Labels) || !c.Labels("annotation", r.HostConfig.Annotations) {
		return false
	}
	if !c.Exact("status", string(r.State.Status)) || !c.Exact("health", string(container.NoHealthcheck)) {
		return false
	}
	if c.Has("isolation") && !c.Exact("isolation", string(r.HostConfig.Isolation)) {
		return false
	}
	if len(c.exited) > 0 && (r.State.Status != container.StateExited || !slices.Contains(c.exited, r.State.ExitCode)) {
		return false
	}
	if !c.before.IsZero() && !r.Created.Before(c.before) || !c.since.IsZero() && !r.Created.After(c.since) {
		return false
	}
	if c.ancestors != nil && !c.ancestors[r.ImageID] {
		return false
	}
	if c.hasTask && c.isTask { // no container is a task of a swarm service yet
		return false
	}
	return c.matchNetwork(r) && c.matchVolume(r) && c.matchPorts(r)
}

// matchName lets an anchored expression be written with and without the slash.
func (c *compiled) matchName(name string) bool {
	return !c.Has("name") || c.Match("name", "/"+name) || c.Match("name", name)
}

func (c *compiled) matchNetwork(r *Record) bool {
	if !c.Has("network") {
		return true
	}
	for name := range r.Endpoints {
		if c.Exact("network", name) {
			return true
		}
	}
	if ep := r.State.Endpoint; ep != nil {
		return c.Prefix("network", ep.NetworkID)
	}
	return false
}

func (c *compiled) matchVolume(r *Record) bool {
	if !c.Has("volume") {
		return true
	}
	return slices.ContainsFunc(r.Mounts, func(m Mount) bool {
		return slices.ContainsFunc(c.Get("volume"), func(v string) bool {
			return v == m.Name || path.Clean(v) == m.Destination || strings.HasPrefix(v, "/") && path.Clean(v) == m.Source
		})
	})
}

func (c *compiled) matchPorts(r *Record) bool {
	in := func(ranges []mobynet.PortRange, num uint16, proto string) bool {
		return slices.ContainsFunc(ranges, func(pr mobynet.PortRange) bool {
			return num >= pr.Start() && num <= pr.End() && string(pr.Proto()) == proto
		})
	}
	if len(c.expose) > 0 {
		ok := false
		for p := range r.Config.ExposedPorts {
			ok = ok || in(c.expose, p.Num(), string(p.Proto()))
		}
		if !ok {
			return false
		}
	}
	if len(c.publish) == 0 {
		return true
	}
	for port, bindings := range r.HostConfig.PortBindings {
		for _, b := range bindings {
			first, last, err := hostPorts(b.HostPort)
			if err == nil && first != 0 && (in(c.publish, first, string(port.Proto())) || in(c.publish, last, string(port.Proto()))) {
				return true
			}
		}
	}
	if ep := r.State.Endpoint; ep != nil {
		for _, p := range ep.Ports {
			if in(c.publish, p.HostPort, p.Proto) {
				return true
			}
		}
	}
	return false
}
