package show

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
)

// listFilters are the keys of docker ps --filter.
var listFilters = []string{"ancestor", "annotation", "before", "exited", "expose", "health", "id", "is-task", "isolation",
	"label", "name", "network", "publish", "since", "status", "volume"}

// Filter is a filter whose references have been looked up.
type Filter struct {
	filter.Args
	before, since   time.Time
	exited          []int
	ancestors       map[string]bool // image ids
	publish, expose []mobynet.PortRange
	isTask, hasTask bool
}

// Compile checks filters and looks their references up: created tells a
// container's time of creation, family the ids of an image and of those made from it.
func Compile(f filter.Args, created func(ref string) (time.Time, error), family func(ref string) ([]digest.Digest, error)) (*Filter, error) {
	if err := f.Validate(listFilters...); err != nil {
		return nil, err
	}
	c := &Filter{Args: f}
	var err error
	for _, v := range f.Get("status") {
		if err := container.ValidateContainerState(container.ContainerState(v)); err != nil {
			return nil, fault.New(fault.Invalid, "invalid filter 'status=%s': %v", v, err)
		}
	}
	for _, v := range f.Get("health") {
		if err := container.ValidateHealthStatus(container.HealthStatus(v)); err != nil {
			return nil, fault.New(fault.Invalid, "invalid filter 'health=%s': %v", v, err)
		}
	}
	for _, v := range f.Get("exited") {
		code, err := strconv.Atoi(v)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid filter 'exited=%s'", v)
		}
		c.exited = append(c.exited, code)
	}
	if c.before, err = bound(created, f.Get("before"), true); err != nil {
		return nil, err
	}
	if c.since, err = bound(created, f.Get("since"), false); err != nil {
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
			ids, err := family(ref)
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				c.ancestors[id.String()] = true
			}
		}
	}
	return c, nil
}

// bound is the time of creation of the earliest (before) or latest (since)
// container named.
func bound(created func(ref string) (time.Time, error), refs []string, earliest bool) (time.Time, error) {
	var t time.Time
	for _, ref := range refs {
		at, err := created(ref)
		if err != nil {
			return t, err
		}
		if t.IsZero() || earliest == at.Before(t) {
			t = at
		}
	}
	return t, nil
}

func portRanges(key string, values []string) ([]mobynet.PortRange, error) {
	var out []mobynet.PortRange
	for _, v := range values {
		r, err := mobynet.ParsePortRange(v)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid filter '%s=%s': %v", key, v, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// ImpliesAll tells whether the filter selects containers that do not run too.
func (c *Filter) ImpliesAll() bool {
	return c.Has("status")
}

// Match tells whether a container passes.
func (c *Filter) Match(r *record.Record) bool {
	if !c.matchName(r.Name) || !c.Prefix("id", r.ID) || !c.Labels("label", r.Config.Labels) || !c.Labels("annotation", r.HostConfig.Annotations) {
		return false
	}
	if !c.Exact("status", string(r.State.Status)) || !c.Exact("health", string(healthSummary(&r.State).Status)) {
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
func (c *Filter) matchName(name string) bool {
	return !c.Has("name") || c.Args.Match("name", "/"+name) || c.Args.Match("name", name)
}

func (c *Filter) matchNetwork(r *record.Record) bool {
	if !c.Has("network") {
		return true
	}
	for name := range r.Endpoints {
		if c.Exact("network", name) {
			return true
		}
	}
	if r.State.Net != nil {
		return slices.ContainsFunc(r.State.Net.Endpoints, func(ep network.Endpoint) bool { return c.Prefix("network", ep.NetworkID) })
	}
	return false
}

func (c *Filter) matchVolume(r *record.Record) bool {
	if !c.Has("volume") {
		return true
	}
	return slices.ContainsFunc(r.Mounts, func(m mounts.Mount) bool {
		return slices.ContainsFunc(c.Get("volume"), func(v string) bool {
			return v == m.Name || path.Clean(v) == m.Destination || strings.HasPrefix(v, "/") && path.Clean(v) == m.Source
		})
	})
}

func (c *Filter) matchPorts(r *record.Record) bool {
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
			first, last, err := request.HostPorts(b.HostPort)
			if err == nil && first != 0 && (in(c.publish, first, string(port.Proto())) || in(c.publish, last, string(port.Proto()))) {
				return true
			}
		}
	}
	return slices.ContainsFunc(ports(r), func(p network.BoundPort) bool { return in(c.publish, p.HostPort, p.Proto) })
}
