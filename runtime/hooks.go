package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// maxHookOutput bounds what of a failed hook's output goes into the error.
const maxHookOutput = 4 << 10

// hookPoints is what happens while the child waits in its new namespaces.
type hookPoints struct {
	waits bool
	state *os.File // memfd with the container's state, for hooks that the child runs
}

// openHooks prepares for the hooks that run before the program.
func (l *launcher) openHooks() error {
	h := l.spec.Hooks
	if h == nil {
		return nil
	}
	if len(h.CreateContainer) > 0 {
		return fault.New(fault.NotImplemented, "hooks.createContainer is not supported: the root file system never is in the host's mount table; use createRuntime or startContainer")
	}
	//lint:ignore SA1019 prestart is deprecated, not removed
	l.hooks.waits = len(h.Prestart)+len(h.CreateRuntime)+len(h.StartContainer) > 0
	if len(h.StartContainer) == 0 {
		return nil
	}
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a file for the state of hooks: %w", err)
	}
	l.hooks.state = l.keep(os.NewFile(uintptr(fd), "state"))
	l.until = append(l.until, l.hooks.state)
	return nil
}

// waitForHooks adds the wait in which the caller runs prestart and createRuntime, and
// writes the state for those that run in the container.
func (l *launcher) waitForHooks() {
	if l.hooks.waits {
		l.b.At("wait for the hooks", launch.Hint{Errno: syscall.EPIPE, Text: "one of them failed"})
		l.b.Wait()
	}
}

// run is called while the child waits.
func (h *hookPoints) run(spec *specs.Spec, state *specs.State) error {
	ctx := context.Background() // a hook has its own timeout
	//lint:ignore SA1019 prestart is deprecated, not removed
	if err := RunHooks(ctx, "prestart", spec.Hooks.Prestart, state); err != nil {
		return err
	}
	if err := RunHooks(ctx, "createRuntime", spec.Hooks.CreateRuntime, state); err != nil {
		return err
	}
	if h.state == nil {
		return nil
	}
	created := *state
	created.Status = specs.StateCreated
	data, err := json.Marshal(&created)
	if err != nil {
		return err
	}
	_, err = h.state.WriteAt(data, 0)
	return err
}

// startHooks adds the hooks that run in the container before its program.
func (l *launcher) startHooks() {
	if l.spec.Hooks == nil {
		return
	}
	for _, h := range l.spec.Hooks.StartContainer {
		l.containerHook(h)
	}
}

// containerHook adds a process that runs a hook, and the wait for it.
func (l *launcher) containerHook(h specs.Hook) {
	b := l.b
	b.At("run the startContainer hook "+h.Path, launch.Hint{Errno: syscall.ECANCELED, Text: "it ended with a failure"},
		launch.Hint{Errno: syscall.ENOENT, Text: "it must be in the container"})
	pid, result := b.Slot(), b.Slot()
	status := b.Space(4)
	child, failed, done := b.Label(), b.Label(), b.Label()
	state := l.untilFD(l.hooks.state)
	b.Call(unix.SYS_LSEEK, state, launch.Int(0), launch.Int(unix.SEEK_SET))
	b.Fork(pid, 0, child)
	b.Call(unix.SYS_WAIT4, launch.In(pid), status.Addr(), launch.Int(unix.WALL), launch.Int(0))
	b.Load(result, status, 0, 0xffff)
	b.IfNot(result, 0, failed)
	b.Goto(done)
	b.Mark(failed)
	b.Fail(syscall.ECANCELED)
	b.Mark(child)
	b.Call(unix.SYS_DUP3, state, launch.Int(0), launch.Int(0))
	b.Call(unix.SYS_EXECVE, b.Str(h.Path), b.Strs(h.Args), b.Strs(h.Env))
	b.Mark(done)
	b.Free(pid, result)
}

// RunHooks runs hooks on the host, one after the other, with the state on their
// standard input, and returns the first failure. The caller of Launch needs it only
// for poststart and poststop of containers that another process launched.
func RunHooks(ctx context.Context, point string, hooks []specs.Hook, state *specs.State) error {
	if len(hooks) == 0 {
		return nil
	}
	input, err := json.Marshal(state)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if err := runHook(ctx, h, input); err != nil {
			return fmt.Errorf("%s hook %s: %w", point, h.Path, err)
		}
	}
	return nil
}

func runHook(ctx context.Context, h specs.Hook, input []byte) error {
	if h.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args = h.Args
	cmd.Env = h.Env
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would mean ours
	}
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("it did not end in its time of %d s", *h.Timeout)
	case errors.Is(err, os.ErrNotExist):
		return errors.New("it does not exist on the host")
	case err != nil:
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out[:min(len(out), maxHookOutput)]))
	}
	return nil
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
	if l.spec.Hooks == nil {
		return
	}
	if err := RunHooks(context.Background(), "poststart", l.spec.Hooks.Poststart, l.state(specs.StateRunning, pid)); err != nil {
		l.warn(err.Error())
	}
}
