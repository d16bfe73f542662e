package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/hook"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// hookPoints is what happens while the child waits in its new namespaces.
type hookPoints struct {
	waits    bool
	creating *os.File // memfd with the state for createContainer, which the child runs
	created  *os.File // the same for startContainer
}

// openHooks prepares for the hooks that run before the program.
func (l *launcher) openHooks() error {
	l.hooks.waits = len(l.linux.NetDevices) > 0 || l.entered != nil
	h := l.spec.Hooks
	if h == nil {
		return nil
	}
	//lint:ignore SA1019 prestart is deprecated, not removed
	l.hooks.waits = l.hooks.waits || len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer)+len(h.StartContainer) > 0
	var err error
	if len(h.CreateContainer) > 0 {
		if l.hooks.creating, err = l.stateFile(); err != nil {
			return err
		}
	}
	if len(h.StartContainer) > 0 {
		if l.hooks.created, err = l.stateFile(); err != nil {
			return err
		}
		l.until = append(l.until, l.hooks.created)
	}
	return nil
}

func (l *launcher) stateFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for the state of hooks: %w", err)
	}
	return l.keep(os.NewFile(uintptr(fd), "state")), nil
}

// waitForHooks adds the wait in which the caller runs prestart and createRuntime, and
// writes the state for those that run in the container.
func (l *launcher) waitForHooks() {
	if l.hooks.waits {
		l.b.At("wait for the hooks", launch.Hint{Errno: syscall.EPIPE, Text: "one of them failed"})
		l.b.Orphan()
		l.b.Wait()
	}
}

// runHooks is called while the child waits.
func (l *launcher) runHooks(pid int) error {
	if l.entered != nil {
		l.entered()
	}
	if err := l.moveNetDevices(pid); err != nil {
		return err
	}
	if l.spec.Hooks == nil {
		return nil
	}
	ctx := context.Background() // a hook has its own timeout
	// The namespaces are there, which is all that prestart was made to wait for: its
	// state is created (runtime.md, state and lifecycle). What follows is called as a
	// part of the create operation.
	//lint:ignore SA1019 prestart is deprecated, not removed
	if err := hook.Run(ctx, "prestart", l.spec.Hooks.Prestart, l.state(specs.StateCreated, pid)); err != nil {
		return err
	}
	if err := hook.Run(ctx, "createRuntime", l.spec.Hooks.CreateRuntime, l.state(specs.StateCreating, pid)); err != nil {
		return err
	}
	if l.hooks.creating == nil && l.hooks.created == nil {
		return nil
	}
	inside := innerPid(pid)
	for _, s := range []struct {
		file   *os.File
		status specs.ContainerState
	}{{l.hooks.creating, specs.StateCreating}, {l.hooks.created, specs.StateCreated}} {
		if s.file == nil {
			continue
		}
		data, err := json.Marshal(l.state(s.status, inside))
		if err != nil {
			return err
		}
		if _, err := s.file.WriteAt(data, 0); err != nil {
			return fmt.Errorf("write the state for hooks: %w", err)
		}
	}
	return nil
}

// innerPid is the number that a process has in its own PID namespace, which is what
// hooks in the container get (config.md, POSIX-platform hooks); as it is on the host
// if that cannot be found out.
func innerPid(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return pid
	}
	for line := range strings.Lines(string(data)) {
		if list, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(list)
			if n, err := strconv.Atoi(f[len(f)-1]); err == nil {
				return n
			}
		}
	}
	return pid
}

const createContainer = "createContainer"

// createHooks adds the hooks that run in the container's namespaces, but with the
// host's root directory, when the container's mounts are made.
func (l *launcher) createHooks() {
	for i, h := range l.createContainer() {
		l.containerHook(createContainer, i, h, fd(l.hooks.creating))
	}
}

func (l *launcher) createContainer() []specs.Hook {
	if l.spec.Hooks == nil {
		return nil
	}
	return l.spec.Hooks.CreateContainer
}

// startHooks adds the hooks that run in the container before its program. They are files
// of the container, and so have the program's ids, capabilities and seccomp filter.
func (l *launcher) startHooks() {
	if l.spec.Hooks == nil {
		return
	}
	for i, h := range l.spec.Hooks.StartContainer {
		l.containerHook("startContainer", i, h, l.untilFD(l.hooks.created))
	}
}

// containerHook adds a process that runs a hook, and the wait for it.
func (l *launcher) containerHook(point string, number int, h specs.Hook, state launch.Arg) {
	b := l.b
	b.At("error running "+point+" hook #"+strconv.Itoa(number)+": "+h.Path,
		launch.Hint{Errno: syscall.ECANCELED, Text: "it ended with a failure"},
		launch.Hint{Errno: syscall.ETIMEDOUT, Text: "it did not end in its time"},
		launch.Hint{Errno: syscall.ENOENT, Text: "a createContainer hook must be on the host, a startContainer hook in the container"},
		launch.Hint{Errno: syscall.EPERM, Text: "a seccomp profile must allow clone, wait4 and execve for a startContainer hook; pidfd_open, ppoll and kill too if it has a timeout"})
	pid, result := b.Slot(), b.Slot()
	status := b.Space(4)
	child, failed, done := b.Label(), b.Label(), b.Label()
	b.Call(unix.SYS_LSEEK, state, launch.Int(0), launch.Int(unix.SEEK_SET))
	b.Fork(pid, 0, child)
	if h.Timeout != nil {
		l.hookTimeout(pid, *h.Timeout)
	}
	b.Call(unix.SYS_WAIT4, launch.In(pid), status.Addr(), launch.Int(unix.WALL), launch.Int(0))
	b.Load(result, status, 0, 0xffff)
	b.IfNot(result, 0, failed)
	b.Goto(done)
	b.Mark(failed)
	b.Fail(syscall.ECANCELED)
	b.Mark(child)
	if point == createContainer {
		b.Fchdir(launch.In(l.tree.Root)) // as runc: that is how such hooks find the container's files
	}
	b.Call(unix.SYS_DUP3, state, launch.Int(0), launch.Int(0))
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	b.Call(unix.SYS_EXECVE, b.Str(h.Path), b.Strs(args), b.Strs(hook.Env(h, point == createContainer, l.process)))
	b.Mark(done)
	b.Free(pid, result)
}

// hookTimeout adds the wait for the end of a hook within its time; it kills it otherwise.
func (l *launcher) hookTimeout(pid launch.Slot, seconds int) {
	b := l.b
	end := b.Slot()
	ready, over := b.Slot(), b.Label()
	pollfd := b.Space(8)
	b.Call(unix.SYS_PIDFD_OPEN, launch.In(pid), launch.Int(0)).Into(end)
	b.Store(pollfd, 0, launch.In(end))
	b.Store(pollfd, 4, launch.Int(unix.POLLIN))
	timeout := b.Space(int(unsafe.Sizeof(unix.Timespec{})))
	(*unix.Timespec)(unsafe.Pointer(&timeout.Bytes()[0])).Sec = int64(seconds)
	b.Call(unix.SYS_PPOLL, pollfd.Addr(), launch.Int(1), timeout.Addr(), launch.Int(0), launch.Int(0)).Into(ready)
	b.IfNot(ready, 0, over)
	b.Call(unix.SYS_KILL, launch.In(pid), launch.Int(int(unix.SIGKILL)))
	b.Call(unix.SYS_WAIT4, launch.In(pid), launch.Int(0), launch.Int(unix.WALL), launch.Int(0))
	b.Fail(syscall.ETIMEDOUT)
	b.Mark(over)
	b.Free(ready)
	b.Close(end)
}

// state is what hooks get on their standard input.
func (l *launcher) state(status specs.ContainerState, pid int) *specs.State {
	return &specs.State{
		Version: specs.Version, ID: l.s.ID, Status: status, Pid: pid, Bundle: l.s.Bundle, Annotations: l.spec.Annotations,
	}
}

// poststart runs the hooks after the execve. Their failure is no reason to end the
// container (OCI runtime specification, lifecycle 12).
func (l *launcher) poststart(pid int) {
	if l.spec.Hooks != nil {
		hook.RunAll(context.Background(), "poststart", l.spec.Hooks.Poststart, l.state(specs.StateRunning, pid), l.warn)
	}
}
