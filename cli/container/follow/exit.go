package follow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/format"
)

// How often and how long a daemon that went away is asked again.
const (
	// ReturnTimeout is how long a daemon that went away may stay away after
	// the container's stream has ended.
	ReturnTimeout = 30 * time.Second
	FirstRetry    = 20 * time.Millisecond
	LastRetry     = time.Second
)

// Exit waits for the exit code of a container. It is registered with the
// daemon before the container starts, and survives a restart of the daemon:
// the container does too.
type Exit struct {
	conn      *connect.Conn
	id        string
	condition container.WaitCondition
	result    chan exitResult
	// streamEnd is closed when the container's stream has ended; only then
	// does the time for the daemon's return run.
	streamEnd chan struct{}
}

type exitResult struct {
	code int
	err  error
}

// WaitExit returns when the daemon has registered the wait.
func WaitExit(ctx context.Context, conn *connect.Conn, id string, condition container.WaitCondition) *Exit {
	w := &Exit{conn: conn, id: id, condition: condition, result: make(chan exitResult, 1), streamEnd: make(chan struct{})}
	first := conn.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: condition})
	go func() {
		res, err := receive(first)
		if connect.Unreachable(err) {
			res, err = w.again(ctx)
		}
		w.result <- exitResult{res, err}
	}()
	return w
}

func receive(w client.ContainerWaitResult) (int, error) {
	select {
	case res := <-w.Result:
		if res.Error != nil {
			return app.ExitEngine, errors.New(res.Error.Message)
		}
		return int(res.StatusCode), nil
	case err := <-w.Error:
		return app.ExitEngine, err
	}
}

// again asks a daemon that comes back. The container may have ended meanwhile,
// so any state but running answers now.
func (w *Exit) again(ctx context.Context) (int, error) {
	condition := w.condition
	if condition == container.WaitConditionNextExit {
		condition = container.WaitConditionNotRunning
	}
	pause := FirstRetry
	var giveUp <-chan time.Time
	ended := w.streamEnd
	for {
		code, err := receive(w.conn.ContainerWait(ctx, w.id, client.ContainerWaitOptions{Condition: condition}))
		switch {
		case err == nil || ctx.Err() != nil:
			return code, err
		case errdefs.IsNotFound(err):
			return app.ExitEngine, fmt.Errorf("container %s ended and was removed while the daemon was away: its exit code is not known", format.ID(w.id, false))
		case !connect.Unreachable(err) && !errdefs.IsUnavailable(err):
			return app.ExitEngine, err
		}
		select {
		case <-time.After(pause):
		case <-ended:
			ended = nil
			giveUp = time.After(ReturnTimeout)
			pause = FirstRetry
			continue
		case <-giveUp:
			return app.ExitEngine, fmt.Errorf("the daemon did not come back within %s: the exit code of container %s is not known (see it later with: inspect --format '{{.State.ExitCode}}' %[2]s)", ReturnTimeout, format.ID(w.id, false))
		case <-ctx.Done():
			return app.ExitEngine, ctx.Err()
		}
		pause = min(pause*2, LastRetry)
	}
}

// AwaitEnd returns when the container has ended, or after limit.
func (w *Exit) AwaitEnd(limit time.Duration) {
	select {
	case <-w.result:
	case <-time.After(limit):
	}
}

// Code is the exit code, once the stream has ended.
func (w *Exit) Code() (int, error) {
	close(w.streamEnd)
	r := <-w.result
	return r.code, r.err
}
