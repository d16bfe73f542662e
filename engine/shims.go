package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
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

// Groups reaches the control groups of containers without a shim.
type Groups struct{}

// Destroy kills every process of a group and removes it. A missing group is no error.
func (Groups) Destroy(ctx context.Context, path string) error {
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
