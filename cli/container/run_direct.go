package container

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/container/follow"
	"github.com/sampan-containers/sampan/cli/container/spec"
	"github.com/sampan-containers/sampan/cli/format"
	"github.com/sampan-containers/sampan/cli/http1"
	"github.com/sampan-containers/sampan/cli/value"
)

// Headers of the answer of a run.
const (
	containerHeader = "Sampan-Container"
	warningHeader   = "Sampan-Warning"
)

// waitFirstExit is Sampan's own condition of a wait: the container may be over
// when the wait comes.
const waitFirstExit = "first-exit"

// direct tells whether Sampan's own request for create, attach and start in one
// serves. A terminal has its size to set, an id file is written before the
// start, one that only reads has no stream whose end tells of it, and what is restarted has more than one end to wait for.
func (o *runOptions) direct(req *spec.Request) bool {
	c := req.Config
	attached := c.AttachStdout || c.AttachStderr
	policy := req.Host.RestartPolicy
	return o.cidFile == "" && (o.detach || !c.Tty && attached && (policy.Name == "" || policy.IsNone()))
}

// runDirect is `run` in one request; client.NoSuchRoute tells of a daemon that
// does not have it.
func runDirect(ctx context.Context, a *app.App, conn *connect.Conn, o *runOptions, req *spec.Request, t *follow.Taken) error {
	platform, err := value.Platform(o.platform)
	if err != nil {
		return engineError(a, err)
	}
	create := client.ContainerCreateOptions{
		Config: req.Config, HostConfig: req.Host, NetworkingConfig: req.Networking, Platform: platform, Name: o.name,
	}
	if o.detach {
		var res client.ContainerCreateResult
		err := o.withImage(ctx, a, conn, req.Config.Image, func() (err error) {
			res, err = conn.ContainerRunDetached(ctx, create)
			return err
		})
		if err != nil {
			return runRefused(a, err)
		}
		printWarnings(a, res.Warnings)
		a.Println(res.ID)
		return nil
	}
	r := &runner{app: a, conn: conn, options: o, req: req}
	return r.attached(ctx, create, t)
}

// attached follows a container whose start is part of the request.
func (r *runner) attached(ctx context.Context, create client.ContainerCreateOptions, t *follow.Taken) error {
	a, c := r.app, r.req.Config
	var f *follow.Forwarder
	if r.options.sigProxy {
		f = follow.Forward(ctx, a, r.conn, "", t)
		r.options.pulling = f.Nothing
		defer f.Close()
	}
	s := &follow.Session{App: a, DetachKeys: a.DetachKeys(r.options.detachKeys)}
	q := create.Query()
	for _, stream := range []struct {
		name string
		on   bool
		use  func()
	}{
		{"stdin", c.AttachStdin, func() { s.Stdin = a.In }},
		{"stdout", c.AttachStdout, func() { s.Stdout = a.Out }},
		{"stderr", c.AttachStderr, func() { s.Stderr = a.Err }},
	} {
		if stream.on {
			q.Set(stream.name, "1")
			stream.use()
		}
	}
	q.Set("end", "1")
	body := connect.Late(func() any {
		if t != nil {
			t.Wait() // a container that exists gets the signals
		}
		return client.Compact{Value: create.Body()}
	})
	err := r.options.withImage(ctx, a, r.conn, c.Image, func() (err error) {
		s.Stream, err = r.conn.Hijack(ctx, client.RunPath, q, body)
		return err
	})
	if err != nil {
		return runRefused(a, err)
	}
	r.id = s.Stream.Header.Get(containerHeader)
	printWarnings(a, warningsOf(s.Stream.Header))
	if f != nil {
		f.Started(r.id)
	}
	err = r.followToEnd(ctx, s)
	if failed := (*follow.StreamError)(nil); errors.As(err, &failed) {
		//lint:ignore ST1005 these are Docker's words
		return runError(a, startFailure(failed), fmt.Errorf("Error response from daemon: %w", failed))
	}
	return err
}

// followToEnd follows a stream whose last frame has the exit code.
func (r *runner) followToEnd(ctx context.Context, s *follow.Session) error {
	if err := r.copyStream(ctx, s); errors.Is(err, follow.ErrDetached) {
		return nil
	} else if err != nil {
		return err
	}
	if code, told := s.ExitCode(); told {
		return app.Exit(code)
	}
	// The stream broke off, or no output was asked for: the daemon knows.
	if err := r.begun(ctx); err != nil {
		return engineError(r.app, err)
	}
	condition := container.WaitCondition(waitFirstExit)
	if r.req.Host.AutoRemove {
		condition = container.WaitConditionRemoved
	}
	waitCtx, stopWait := context.WithCancel(ctx)
	defer stopWait()
	return r.waited(follow.WaitExit(waitCtx, r.conn, r.id, condition))
}

// begun fails for a container whose start a daemon did not live to see: nobody would start
// it any more, and its end never comes. With --rm it is taken away.
func (r *runner) begun(ctx context.Context) error {
	pause := follow.FirstRetry
	for end := time.Now().Add(follow.ReturnTimeout); time.Now().Before(end); pause = min(pause*2, follow.LastRetry) {
		res, err := r.conn.ContainerInspect(ctx, r.id, client.ContainerInspectOptions{})
		if connect.Unreachable(err) {
			time.Sleep(pause)
			continue
		}
		if err != nil || res.Container.State == nil || res.Container.State.Status != container.StateCreated {
			return nil // the wait tells
		}
		if r.req.Host.AutoRemove {
			_, err = r.conn.ContainerRemove(ctx, r.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			return errors.Join(fmt.Errorf("the daemon ended before container %s was started (try again)", format.ID(r.id, false)), err)
		}
		return fmt.Errorf("the daemon ended before container %s was started; it is created (start it with: start -a %[1]s)", format.ID(r.id, false))
	}
	return nil
}

func warningsOf(h http1.Header) []string {
	var list []string
	for _, quoted := range h.Values(warningHeader) {
		if text, err := strconv.Unquote(quoted); err == nil {
			list = append(list, text)
		}
	}
	return list
}

// runRefused tells an error of the create, for which the exit code is the
// engine's, from one of the start.
func runRefused(a *app.App, err error) error {
	var refused *client.StatusError
	if errors.As(err, &refused) && refused.Header.Get(containerHeader) != "" {
		return runError(a, startFailure(err), err)
	}
	return engineError(a, err)
}
