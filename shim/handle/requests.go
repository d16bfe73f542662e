package handle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	launch "github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/wire"
)

// ErrEnded reports that the container's run is over.
var ErrEnded = errors.New("the container is not running")

// ErrNoSuchExec reports an exec that the shim does not know, or has forgotten.
var ErrNoSuchExec = errors.New("no such exec")

// Signal sends sig to the container's first process. One that has ended is
// fault.Conflict.
func (s *Shim) Signal(ctx context.Context, sig syscall.Signal) error {
	return s.ok(ctx, "signal", wire.TypeSignal, &wire.Signal{Signal: uint32(sig)}, nil)
}

// Resize sets the size of the container's terminal.
func (s *Shim) Resize(ctx context.Context, h, w uint32) error {
	return s.ok(ctx, "resize", wire.TypeResize, &wire.Resize{Height: h, Width: w}, nil)
}

// Attach adds a client. Its connection is closed here in every case; the shim
// has its own descriptor of it.
func (s *Shim) Attach(ctx context.Context, a Attach) error {
	defer a.close()
	return s.ok(ctx, "attach to", wire.TypeAttach, a.message(), []*os.File{a.Conn})
}

// CloseStdin ends the input of the container's first process.
func (s *Shim) CloseStdin(ctx context.Context) error {
	return s.ok(ctx, "close the input of", wire.TypeCloseStdin, &wire.Target{}, nil)
}

// ExecRequest describes a further process. With OpenStdin and no Attach its
// input stays open until the process ends.
type ExecRequest struct {
	ID            string
	Process       *specs.Process
	OpenStdin     bool
	Height, Width uint32
	Attach        *Attach
}

// Exec starts a process and returns its host pid after its execve. Errors match
// runtime.ErrNotFound and runtime.ErrNotExecutable as those of Start.
func (s *Shim) Exec(ctx context.Context, r ExecRequest) (pid int, err error) {
	defer r.Attach.close()
	if err := wire.CheckProcess(r.Process); err != nil {
		return 0, fault.Wrap(fault.NotImplemented, err)
	}
	m := &wire.Exec{ID: r.ID, Process: r.Process, OpenStdin: r.OpenStdin, Height: r.Height, Width: r.Width}
	var files []*os.File
	if r.Attach != nil {
		m.Attach = r.Attach.message()
		files = append(files, r.Attach.Conn)
	}
	f, err := s.call(ctx, "exec in", wire.TypeExec, m, files, wire.TypeStarted)
	if err != nil {
		return 0, err
	}
	started, err := wire.DecodeStarted(f.payload)
	if err != nil {
		return 0, fmt.Errorf("exec in container %s: the shim's answer: %w", s.id, err)
	}
	return int(started.Pid), nil
}

// ExecState is what the shim knows of an exec.
type ExecState struct {
	Running  bool
	Pid      int
	ExitCode int
}

// ExecState asks for an exec. The shim keeps a bounded number of ended ones; an
// unknown or forgotten one is fault.NotFound (ErrNoSuchExec).
func (s *Shim) ExecState(ctx context.Context, execID string) (ExecState, error) {
	return s.execStatus(ctx, "inspect an exec of", wire.TypeExecState, execID)
}

// ExecWait returns when the exec has ended.
func (s *Shim) ExecWait(ctx context.Context, execID string) (ExecState, error) {
	return s.execStatus(ctx, "wait for an exec of", wire.TypeExecWait, execID)
}

func (s *Shim) execStatus(ctx context.Context, verb string, typ wire.Type, execID string) (ExecState, error) {
	f, err := s.call(ctx, verb, typ, &wire.Target{Exec: execID}, nil, wire.TypeExecStatus)
	if err != nil {
		return ExecState{}, err
	}
	st, err := wire.DecodeExecStatus(f.payload)
	if err != nil {
		return ExecState{}, fmt.Errorf("%s container %s: the shim's answer: %w", verb, s.id, err)
	}
	return ExecState{Running: st.Running, Pid: int(st.Pid), ExitCode: int(st.ExitCode)}, nil
}

// ExecResize sets the size of an exec's terminal.
func (s *Shim) ExecResize(ctx context.Context, execID string, h, w uint32) error {
	return s.ok(ctx, "resize an exec of", wire.TypeResize, &wire.Resize{Exec: execID, Height: h, Width: w}, nil)
}

// ExecSignal sends sig to an exec's process.
func (s *Shim) ExecSignal(ctx context.Context, execID string, sig syscall.Signal) error {
	return s.ok(ctx, "signal an exec of", wire.TypeSignal, &wire.Signal{Exec: execID, Signal: uint32(sig)}, nil)
}

// Namespace returns a descriptor of one of the container's namespaces, by the
// OCI spec's type, or with wire.KindRoot of its root directory.
func (s *Shim) Namespace(ctx context.Context, kind string) (*os.File, error) {
	f, err := s.call(ctx, "open a namespace of", wire.TypeNamespace, &wire.Namespace{Kind: kind}, nil, wire.TypeNamespaceFile)
	if err != nil {
		return nil, err
	}
	if len(f.files) != 1 {
		f.close()
		return nil, fmt.Errorf("open the %s namespace of container %s: the shim sent %d descriptors", kind, s.id, len(f.files))
	}
	return f.files[0], nil
}

// Control changes a container of another OCI runtime by that runtime: pause, resume,
// or update with the JSON of an OCI resources object.
func (s *Shim) Control(ctx context.Context, verb string, data []byte) error {
	return s.ok(ctx, verb, wire.TypeControl, &wire.Control{Verb: verb, Data: data}, nil)
}

// Publish gives the shim the socket of one more port; with no file it ends that
// port. The caller closes its own descriptor.
func (s *Shim) Publish(ctx context.Context, p wire.Port, f *os.File) error {
	var files []*os.File
	if f != nil {
		files = []*os.File{f}
	}
	return s.ok(ctx, "change a published port of", wire.TypePort, &p, files)
}

// Retarget leads new connections of a relayed port to p.ContainerIP; those that stand
// go on.
func (s *Shim) Retarget(ctx context.Context, p wire.Port) error {
	return s.ok(ctx, "lead a published port of", wire.TypeRetarget, &p, nil)
}

// Keep gives the shim a descriptor to hold for the container's life, so that it
// outlives the daemon; Kept returns a copy. The caller closes its own.
func (s *Shim) Keep(ctx context.Context, name string, f *os.File) error {
	return s.ok(ctx, "keep a descriptor for", wire.TypeKeep, &wire.Target{Exec: name}, []*os.File{f})
}

// Forget closes the shim's descriptor of that name, if it has one.
func (s *Shim) Forget(ctx context.Context, name string) error {
	return s.ok(ctx, "close a descriptor of", wire.TypeKeep, &wire.Target{Exec: name}, nil)
}

// Kept returns a copy of a descriptor that was given to Start or Keep; one that
// the shim does not have is an error.
func (s *Shim) Kept(ctx context.Context, name string) (*os.File, error) {
	return s.Namespace(ctx, wire.KindKept+name)
}

func (s *Shim) ok(ctx context.Context, verb string, typ wire.Type, p wire.Payload, files []*os.File) error {
	f, err := s.call(ctx, verb, typ, p, files, wire.TypeOK)
	f.close()
	return err
}

// failure turns an Error frame into an error of the right class.
func (s *Shim) failure(verb string, payload []byte) error {
	m, err := wire.DecodeError(payload)
	if err != nil {
		return fmt.Errorf("%s container %s: the shim's error: %w", verb, s.id, err)
	}
	switch m.Code {
	case wire.CodeNotFound:
		return fault.Wrap(fault.Invalid, &classed{m.Text, launch.ErrNotFound})
	case wire.CodeNotExecutable:
		return fault.Wrap(fault.Invalid, &classed{m.Text, launch.ErrNotExecutable})
	case wire.CodeNoSuchExec:
		return fault.New(fault.NotFound, "%s container %s: %w: %s", verb, s.id, ErrNoSuchExec, m.Text)
	case wire.CodeNotRunning:
		return fault.New(fault.Conflict, "%s container %s: %w", verb, s.id, ErrEnded)
	case wire.CodeInvalid:
		return fault.New(fault.Invalid, "%s", m.Text)
	case wire.CodeExhausted:
		return fault.New(fault.Exhausted, "%s", m.Text)
	}
	return errors.New(m.Text)
}

// classed is the shim's sentence with the runtime's error behind it.
type classed struct {
	text string
	err  error
}

func (e *classed) Error() string { return e.text }
func (e *classed) Unwrap() error { return e.err }
