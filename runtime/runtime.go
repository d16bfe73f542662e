// Package runtime starts containers from an OCI specification: Launch, Start,
// Exec and Destroy. It is the library behind the shim and behind the OCI command
// line, not a command line itself.
//
// A container is started in process. The specification is compiled into a list
// of system calls (packages launch, rootfs and privs), a child of the calling
// process interprets the list and ends in execve. No further binary runs, no
// file of the container is executed or written on its behalf before that, and
// nothing is mounted on the host.
//
// The caller is the parent of every process made here and reaps it (waitid on
// Pid or PidFD). Until its execve a child has no exit signal, so that a loop over
// wait4(-1, …) without __WALL never sees a launch that failed; Launch and Exec
// reap those themselves.
//
// A container must not get hold of the program that launches it. Launch sees to that by
// itself where NeedsSeal is false; for the rest, and for Exec, the program must have
// been started from where nobody can write to it: SealSelf, SealedCopy.
//
// The example is the whole of a program that uses it; "sampan-runtime spec --explain" shows
// the steps of a bundle.
//
// The package needs root, or a user namespace in which the caller is root.
package runtime

import (
	"errors"
	"os"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sampan-containers/sampan/runtime/ahead"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// Errors of Launch, Start and Exec that decide an exit code.
var (
	// ErrNotFound: the program, or the interpreter it names, does not exist (exit code 127).
	ErrNotFound = errors.New("executable file not found")
	// ErrNotExecutable: the program is a directory or may not be executed (exit code 126).
	ErrNotExecutable = errors.New("file is not executable")
)

// Overlay describes a root file system that is an overlay of layers. The mount
// is made detached: it is attached in the container's mount namespace only.
type Overlay struct {
	Lower    []string // directories, top first; up to 500
	Upper    string   // empty: no layer to write to
	Work     string   // beside Upper, on the same file system
	ReadOnly bool     // the mount is made read-only once the mount targets exist
}

// LaunchSpec says what to start.
type LaunchSpec struct {
	ID      string
	Spec    *specs.Spec
	Bundle  string   // base for a relative Spec.Root.Path
	Overlay *Overlay // when set, used instead of Spec.Root.Path

	// Namespaces are joined by descriptor; they win over a path in the
	// specification. The caller keeps the files.
	Namespaces map[specs.LinuxNamespaceType]*os.File

	// Cgroup is the group to join. When nil, one is created at
	// Spec.Linux.CgroupsPath ("/sampan/ID" if that is empty; slice:prefix:name lets
	// systemd make it) with the limits of Spec.Linux.Resources, and belongs to the Container.
	Cgroup *cgroup.Group
	// Machine is where control groups are, if the caller has found that out; nil is fine.
	Machine *cgroup.Machine

	// Ahead has made some of the namespaces already; nil is fine. DieWithParent
	// means the thread of it.
	Ahead *ahead.Namespaces

	// Template is a mount namespace made by NewTemplate. It spares a copy of the
	// host's mount table; nil works too.
	Template *os.File

	// Filter, when set, is used instead of Spec.Linux.Seccomp, also by Exec.
	Filter *seccomp.Filter

	Stdio    [3]*os.File // used when !Spec.Process.Terminal; nil is /dev/null
	Preserve []*os.File  // become descriptors 3, 4, … of the program (--preserve-fds)

	// Hold stops the container before its execve, until Start. With HoldSocket,
	// a listening UNIX socket, any process may let it go on: see Release.
	Hold       bool
	HoldSocket *os.File
	// FindProgram lets a launch that holds fail if the program is missing: callers of runc
	// learn from its create that a command does not exist.
	FindProgram bool

	// TableInOrder makes the container's mount table list the mounts as the
	// specification does, at the cost of some system calls for each bind mount. They are
	// mounted in that order in any case; but since Linux 6.8 the table is sorted by the
	// age of a mount, and the sources of bind mounts are copied first.
	TableInOrder bool

	// RawOutput makes a terminal that does not turn a line feed into two characters: the
	// caller's own terminal, to which its output goes, does that.
	RawOutput bool

	Entered       func()       // whoever held Cgroup open leaves: a stranger in a delegated group is EBUSY to its division
	Groups        []*os.File   // as in ExecSpec; linux.intelRdt needs the caller to make these
	KeepKeyring   bool         // no session keyring of its own
	DieWithParent bool         // SIGKILL for the container's first process when the caller dies
	Warn          func(string) // told about steps that were degraded; nil drops them
}

// Container is a started, or held, container. Its methods may be called by
// several goroutines at once.
type Container struct {
	ID      string
	Pid     int           // on the host
	PidFD   *os.File      //
	Root    *os.File      // O_PATH: the root in the container's mount namespace
	Console *os.File      // master of the terminal, or nil; the caller owns it
	Cgroup  *cgroup.Group //

	spec     *specs.Spec
	compiled *seccomp.Filter // in place of the specification's profile, or nil
	unit     string          // of systemd, that Cgroup belongs to, or ""
	bundle   string          // for the state that others are told
	private  uintptr         // CLONE_NEW* flags of the namespaces that are not the caller's
	ptmx     *os.File        // O_PATH descriptor of the container's own /dev/pts/ptmx, or nil
	warn     func(string)

	mu        sync.Mutex // guards what follows
	held      *watch     // the conversation that waits for Start, or nil
	started   func()     // what Start does after the execve
	destroyed bool
}

// ExecSpec says what to start in a running container.
type ExecSpec struct {
	Process  *specs.Process
	Stdio    [3]*os.File // used when !Process.Terminal; nil is /dev/null
	Preserve []*os.File

	// Groups are files tasks or cgroup.procs, open for writing, of groups that the process
	// joins after the container's own: groups below that.
	Groups      []*os.File
	KeepKeyring bool // the session keyring is the caller's
	RawOutput   bool // as in LaunchSpec

	State *specs.State // the container's, as a seccomp listener is told
}

// Process is a further process of a container. It is a child of the caller.
type Process struct {
	Pid     int
	PidFD   *os.File
	Console *os.File // master of the terminal, or nil
}

// Close closes the descriptors of p; the process goes on.
func (p *Process) Close() error {
	if p.Console != nil {
		p.Console.Close()
	}
	return p.PidFD.Close()
}
