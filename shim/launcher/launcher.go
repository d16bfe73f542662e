// Package launcher is the interface by which a shim starts a container and reaches
// it afterwards. InProcess implements it with package runtime; package external, with
// the program of another OCI runtime.
package launcher

import (
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime"
)

// Launcher starts a container.
type Launcher interface {
	// Launch returns after the container's execve. A failed launch leaves nothing
	// behind. Errors match runtime.ErrNotFound and runtime.ErrNotExecutable.
	Launch(*runtime.LaunchSpec) (*Launched, error)
}

// Launched is a container that runs. Its first process is a child of the shim.
type Launched struct {
	Pid     int
	PidFD   *os.File
	Console *os.File // master of the terminal, or nil
	Container
}

// Container is what the shim needs of a running container. Exec, Destroy and the
// methods of Remote may block and may be called beside the loop.
type Container interface {
	// Exec starts a further process, a child of the shim, and returns after its
	// execve.
	Exec(*runtime.ExecSpec) (*runtime.Process, error)
	Namespace(specs.LinuxNamespaceType) (*os.File, error)
	// RootDir is the container's root directory, or nil. Destroy closes it.
	RootDir() *os.File
	// OOMKilled tells whether the OOM killer was in the group; call it before
	// Destroy.
	OOMKilled() (bool, error)
	// Destroy kills what is left and removes the group. It is idempotent.
	Destroy() error
}

// Remote is a Container whose signals and changes go through another program. One
// that is not Remote is signalled by its pidfd, and changed by its control group.
type Remote interface {
	Signal(syscall.Signal) error
	// Control pauses, resumes, or updates with the JSON of an OCI resources object.
	Control(verb string, data []byte) error
}

// InProcess launches with package runtime.
type InProcess struct{}

// Launch starts a container in this process.
func (InProcess) Launch(s *runtime.LaunchSpec) (*Launched, error) {
	c, err := runtime.Launch(s)
	if err != nil {
		return nil, err
	}
	return &Launched{Pid: c.Pid, PidFD: c.PidFD, Console: c.Console, Container: Own{c}}, nil
}

// Own is a Container of package runtime.
type Own struct{ *runtime.Container }

// OOMKilled asks the container's group.
func (c Own) OOMKilled() (bool, error) {
	if c.Cgroup == nil {
		return false, nil
	}
	return c.Cgroup.OOMKilled()
}

// RootDir is the container's root directory.
func (c Own) RootDir() *os.File { return c.Root }
