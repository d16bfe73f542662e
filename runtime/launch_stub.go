package runtime

import (
	"context"
	"errors"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sampan-containers/sampan/runtime/cgroup"
)

var errSoon = errors.New("runtime: not there yet")

// Launch starts a container. It returns after the execve succeeded, or with
// Hold when only the execve is left. When it fails, nothing is left behind.
func Launch(s *LaunchSpec) (*Container, error) { return nil, errSoon }

// Start lets a held container go on and returns after its execve.
func (c *Container) Start() error { return errSoon }

// Exec starts a further process in the container and returns after its execve.
func (c *Container) Exec(e *ExecSpec) (*Process, error) { return nil, errSoon }

// Namespace opens one of the container's namespaces. The caller owns the file.
func (c *Container) Namespace(kind specs.LinuxNamespaceType) (*os.File, error) { return nil, errSoon }

// Destroy kills what is left of the container's group, removes the group and
// closes the descriptors. It is idempotent. It does not reap Pid.
func (c *Container) Destroy() error { return errSoon }

// Close closes the descriptors and leaves the container alone.
func (c *Container) Close() error { return errSoon }

// Load finds a container that another process launched: its first process, its
// specification and its group (nil: processes join no group). The process must
// be known to be the right one (start time checked) by the caller.
func Load(id string, pid int, spec *specs.Spec, g *cgroup.Group) (*Container, error) {
	return nil, errSoon
}

// Listen makes the socket for HoldSocket at stateDir/start.sock; Release finds it there.
func Listen(stateDir string) (*os.File, error) { return nil, errSoon }

// Release lets a container go on that was launched with Hold and Listen's
// socket, possibly by another process, and returns after its execve. spec is
// needed to name the program when the execve fails.
func Release(ctx context.Context, stateDir string, spec *specs.Spec) error { return errSoon }

// NewTemplate makes a mount namespace that holds only an empty read-only tmpfs,
// for LaunchSpec.Template. It may be used for any number of containers and sent
// to other processes.
func NewTemplate() (*os.File, error) { return nil, errSoon }

// SealSelf makes sure that the running binary cannot be changed through
// /proc/PID/exe (CVE-2019-5736): it executes a sealed copy in memory in place of
// the caller, with the same arguments and environment, unless that is what runs
// already. It must be called first thing in main.
func SealSelf() error { return nil }
