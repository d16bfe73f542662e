package index

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

// Shim is a running container's supervisor; *handle.Shim is one. Calls to one
// whose container has ended fail with fault.Conflict.
type Shim interface {
	Exec(context.Context, handle.ExecRequest) (pid int, err error)
	ExecState(ctx context.Context, execID string) (handle.ExecState, error)
	ExecWait(ctx context.Context, execID string) (handle.ExecState, error)
	ExecResize(ctx context.Context, execID string, height, width uint32) error
	Pid() int
	ShimPid() int
	StartedAt() time.Time
	Done() <-chan struct{}
	Exit() (wire.ExitRecord, error)
	OnWarning(func(string))
	Signal(context.Context, syscall.Signal) error
	Resize(ctx context.Context, height, width uint32) error
	Attach(context.Context, handle.Attach) error
	Namespace(ctx context.Context, kind string) (*os.File, error)
	Keep(ctx context.Context, name string, f *os.File) error
	Publish(ctx context.Context, p wire.Port, f *os.File) error
	Retarget(ctx context.Context, p wire.Port) error
	Kept(ctx context.Context, name string) (*os.File, error)
	ExecSignal(ctx context.Context, execID string, sig syscall.Signal) error
	// Control pauses, resumes or updates a container of an external runtime.
	Control(ctx context.Context, verb string, data []byte) error
	// Close lets go of the shim; the container goes on.
	Close() error
}

// Run is one life of a container's processes.
type Run struct {
	Shim Shim
	// Stopping tells that a user ends it, so that no policy restarts it.
	Stopping atomic.Bool
	// Discard tells that a removal follows: its end need not be recorded.
	Discard atomic.Bool
	// Keep tells that a restart follows: --rm does not remove it now.
	Keep atomic.Bool
	// Settled closes when the end has been recorded.
	Settled chan struct{}
}

// NewRun is the life that a shim supervises.
func NewRun(s Shim) *Run { return &Run{Shim: s, Settled: make(chan struct{})} }

// AwaitSettled returns when the end of the run has been recorded, or when ctx ends.
func (r *Run) AwaitSettled(ctx context.Context) error {
	select {
	case <-r.Settled:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
