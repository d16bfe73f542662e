// Package control changes running containers: it stops their processes and lets them
// go on, and sets limits. A container of our own runtime is changed by its control
// group; one that another OCI runtime has made, by that runtime through its shim.
package control

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
)

// Groups reaches the control groups of containers.
type Groups interface {
	Freeze(ctx context.Context, path string) error
	Thaw(ctx context.Context, path string) error
	Update(path string, res *specs.LinuxResources) error
	Procs(path string) ([]int, error)
}

// Control changes running containers. The caller holds the container's lock.
type Control struct {
	Groups Groups
	Paths  *layout.Paths
}

// remote is the shim that passes changes on to another runtime, or nil.
func remote(e *index.Entry) index.Shim {
	if r := e.Run(); r != nil && External(e.Record()) {
		return r.Shim
	}
	return nil
}

// External tells whether another OCI runtime makes the container.
func External(r *record.Record) bool {
	return r.HostConfig.Runtime != "" && r.HostConfig.Runtime != request.OwnRuntime
}

// Freeze stops every process of the container; after a failure none is stopped.
func (c *Control) Freeze(ctx context.Context, e *index.Entry) error {
	if sh := remote(e); sh != nil {
		return sh.Control(ctx, "pause", nil)
	}
	return c.Groups.Freeze(ctx, c.Paths.Cgroup(e.Record()))
}

// Thaw lets the processes go on.
func (c *Control) Thaw(ctx context.Context, e *index.Entry) error {
	if sh := remote(e); sh != nil {
		return sh.Control(ctx, "resume", nil)
	}
	return c.Groups.Thaw(ctx, c.Paths.Cgroup(e.Record()))
}

// Limit applies the limits named and leaves the others alone.
func (c *Control) Limit(ctx context.Context, e *index.Entry, res *specs.LinuxResources) error {
	sh := remote(e)
	if sh == nil {
		return c.Groups.Update(c.Paths.Cgroup(e.Record()), res)
	}
	raw, err := json.Marshal(res)
	if err != nil {
		return err
	}
	return sh.Control(ctx, "update", raw)
}
