package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/systemd"
	"github.com/sampan-containers/sampan/shim/handle"
)

// Shims is the container service's Supervisor on real shims.
type Shims struct{ *handle.Spawner }

// Start starts a shim and its container.
func (s Shims) Start(ctx context.Context, st *handle.Start) (container.Shim, error) {
	sh, err := s.Spawner.Start(ctx, st)
	if err != nil {
		return nil, err // not a nil *handle.Shim inside the interface
	}
	return sh, nil
}

// Connect finds a running shim again.
func (s Shims) Connect(ctx context.Context, runDir string) (container.Shim, error) {
	sh, err := handle.Connect(ctx, runDir)
	if err != nil {
		return nil, err
	}
	return sh, nil
}

// RuntimeBinary is the name of the program that shims run.
const RuntimeBinary = "sampan-runtime"

// FindRuntime finds the runtime's program: the one named, the one beside this
// program, or one in PATH.
func FindRuntime(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), RuntimeBinary)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(RuntimeBinary)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside sampand nor in PATH; build and install both together: %w", RuntimeBinary, err)
	}
	return path, nil
}

// Groups reaches the control groups of containers.
type Groups struct{}

func group[T any](path string, f func(*cgroup.Group) (T, error)) (T, error) {
	g, err := cgroup.Load(path)
	if err != nil {
		var none T
		return none, err
	}
	defer g.Close()
	return f(g)
}

// Freeze stops every process of a group.
func (Groups) Freeze(ctx context.Context, path string) error {
	_, err := group(path, func(g *cgroup.Group) (struct{}, error) { return struct{}{}, g.Freeze(ctx) })
	return err
}

// Thaw lets the processes of a group go on.
func (Groups) Thaw(ctx context.Context, path string) error {
	_, err := group(path, func(g *cgroup.Group) (struct{}, error) { return struct{}{}, g.Thaw(ctx) })
	return err
}

// Frozen tells whether the processes of a group are stopped.
func (Groups) Frozen(path string) (bool, error) {
	return group(path, (*cgroup.Group).Frozen)
}

// Update applies limits to a group.
func (Groups) Update(path string, res *specs.LinuxResources) error {
	_, err := group(path, func(g *cgroup.Group) (struct{}, error) {
		if unit := systemd.UnitOf(path); unit != "" {
			return struct{}{}, systemd.Update(context.Background(), unit, g, res)
		}
		return struct{}{}, g.Update(res)
	})
	return err
}

// Procs lists the processes of a group.
func (Groups) Procs(path string) ([]int, error) { return group(path, (*cgroup.Group).Procs) }

// Paths returns a group's directories.
func (Groups) Paths(path string) (map[string]string, error) {
	return group(path, func(g *cgroup.Group) (map[string]string, error) { return g.Paths(), nil })
}

// Destroy kills every process of a group and removes it, and ends the unit that it may
// belong to. A missing group is no error.
func (Groups) Destroy(ctx context.Context, path string) error {
	err := destroy(ctx, path)
	if unit := systemd.UnitOf(path); unit != "" && err == nil {
		err = systemd.Stop(ctx, unit)
	}
	return err
}

func destroy(ctx context.Context, path string) error {
	g, err := cgroup.Load(path)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.Kill(ctx); err != nil {
		return err
	}
	return g.Remove(ctx)
}
