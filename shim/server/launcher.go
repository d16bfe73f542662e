package server

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime"
)

// launcher starts a container. Ours does it in this process; one that calls an
// external OCI runtime (--runtime runc) has the same contract.
type launcher interface {
	// launch returns after the container's execve. A failed launch leaves nothing
	// behind. Errors match runtime.ErrNotFound and runtime.ErrNotExecutable.
	launch(*runtime.LaunchSpec) (*launched, error)
}

// launched is a container that runs. Its first process is a child of the shim.
type launched struct {
	pid     int
	pidfd   *os.File
	console *os.File // master of the terminal, or nil
	root    *os.File // the container's root directory, or nil; closed by Destroy
	container
}

// container is what the shim needs of a running container. Exec and Destroy may
// block and may be called beside the loop.
type container interface {
	// Exec starts a further process, a child of the shim, and returns after its
	// execve.
	Exec(*runtime.ExecSpec) (*runtime.Process, error)
	Namespace(specs.LinuxNamespaceType) (*os.File, error)
	// OOMKilled tells whether the OOM killer was in the group; call it before
	// Destroy.
	OOMKilled() (bool, error)
	// Destroy kills what is left and removes the group. It is idempotent.
	Destroy() error
}

// inProcess launches with package runtime.
type inProcess struct{}

func (inProcess) launch(s *runtime.LaunchSpec) (*launched, error) {
	c, err := runtime.Launch(s)
	if err != nil {
		return nil, err
	}
	return &launched{pid: c.Pid, pidfd: c.PidFD, console: c.Console, root: c.Root, container: ownContainer{c}}, nil
}

type ownContainer struct{ *runtime.Container }

func (c ownContainer) OOMKilled() (bool, error) {
	if c.Cgroup == nil {
		return false, nil
	}
	return c.Cgroup.OOMKilled()
}

func (c ownContainer) rootDir() *os.File { return c.Root }
