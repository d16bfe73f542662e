package container

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/launcher"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/runtime/checkpoint"
	"github.com/sampan-containers/sampan/snapshot"
)

// Shim is a running container's supervisor.
type Shim = index.Shim

// Supervisor starts shims and finds them again. Connect fails with fault.NotFound when
// no shim listens.
type Supervisor interface {
	launcher.Supervisor
	Connect(ctx context.Context, runDir string) (Shim, error)
	Dump(context.Context, *checkpoint.Request) error
}

// Images finds images; *image.Service is one.
type Images interface {
	Get(ctx context.Context, ref string) (*image.Image, error)
	Family(ctx context.Context, ref string) ([]digest.Digest, error)
	Lowers(*image.Image) ([]string, error)
	Commit(ctx context.Context, diff io.Reader, o image.CommitOptions) (digest.Digest, error)
}

// Snapshots makes writable layers; *snapshot.Overlay is one.
type Snapshots interface {
	Dir(containerID string) string
	Prepare(ctx context.Context, containerID string, lowers []string) (snapshot.Mount, error)
	Limit(ctx context.Context, containerID string, m snapshot.Mount, bytes int64) error
	Remove(ctx context.Context, containerID string) error
	Usage(ctx context.Context, containerID string) (int64, error)
}

// Networks gives containers namespaces and addresses; *network.Service is one.
type Networks interface {
	launcher.Networks
	membership.Service
	Restore(ctx context.Context, running []string) error
	Rename(containerID, name string) error
}

// Groups reaches the control groups of containers. One that is not there is
// fault.NotFound.
type Groups interface {
	// Destroy kills every process of the group and removes it. A group that is
	// not there is no error.
	Destroy(ctx context.Context, path string) error
	// Freeze stops every process of the group; after a failure none is stopped.
	Freeze(ctx context.Context, path string) error
	// Thaw lets them go on; a group that is not frozen is no error.
	Thaw(ctx context.Context, path string) error
	Frozen(path string) (bool, error)
	// Update applies the limits named and leaves the others alone.
	Update(path string, res *specs.LinuxResources) error
	// Procs lists the processes, as the host numbers them.
	Procs(path string) ([]int, error)
	// Paths returns the group's directory for each controller; "" is cgroup v2.
	Paths(path string) (map[string]string, error)
}

// Publisher takes the events of containers; *event.Bus is one.
type Publisher = notice.Publisher
