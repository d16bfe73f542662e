package container

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/execs"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/container/stream"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/handle"
)

// ExecCreate prepares a command in a running container.
func (s *Service) ExecCreate(ctx context.Context, ref string, r *container.ExecCreateRequest) (id string, err error) {
	e, err := s.find(ref)
	if err != nil {
		return "", err
	}
	switch e.record().State.Status {
	case container.StatePaused:
		return "", fault.New(fault.Conflict, "container %s is paused, unpause the container before exec", e.id)
	case container.StateRestarting:
		return "", fault.New(fault.Conflict, "container %s is restarting, wait until the container is running", e.id)
	}
	live, err := e.live()
	if err != nil {
		return "", err
	}
	if r == nil || len(r.Cmd) == 0 {
		return "", invalid("no exec command specified")
	}
	if err := request.CheckText("exec", append(append(slices.Clone(r.Cmd), r.Env...), r.WorkingDir, r.User)...); err != nil {
		return "", err
	}
	for _, env := range r.Env {
		if env == "" || env[0] == '=' {
			return "", invalid("invalid environment variable: %s", env)
		}
	}
	keys, err := request.DetachKeys(r.DetachKeys)
	if err != nil {
		return "", err
	}
	x := &execs.Exec{ID: request.NewID(), Container: e.id, Request: r, Keys: keys, Shim: live.shim}
	if err := s.execs.Add(x); err != nil {
		return "", err
	}
	s.execEvent(e, x, events.ActionExecCreate, true, nil)
	return x.ID, nil
}

// ExecStart runs a prepared exec. Without Detach it hijacks the connection,
// hands it to the shim and returns. A command that is missing or cannot be
// executed is fault.Invalid; on a hijacked connection the reason is written
// there, and inspect shows exit code 127 or 126.
func (s *Service) ExecStart(ctx context.Context, execID string, o ExecStartOptions) error {
	x, err := s.execs.Find(execID)
	if err != nil {
		return err
	}
	e, err := s.find(x.Container)
	if err != nil {
		return err
	}
	if _, err := e.live(); err != nil {
		return err
	}
	if err := x.Claim(); err != nil {
		return err
	}
	if o.Detach {
		request, err := s.execRequest(e, x, o)
		if err != nil {
			x.End(codeNotExecutable)
			return err
		}
		return s.execRun(ctx, e, x, request)
	}
	conn, initial, err := o.Hijack(x.Request.Tty)
	if err != nil {
		x.End(codeNotExecutable)
		return err
	}
	// The shim's call closes the connection; a copy carries the reason of a failure.
	spare, err := stream.Duplicate(conn)
	if err != nil {
		x.End(codeNotExecutable)
		return errors.Join(err, conn.Close())
	}
	defer spare.Close()
	request, err := s.execRequest(e, x, o)
	if err != nil {
		x.End(codeNotExecutable)
		conn.Close()
	} else {
		request.Attach = &handle.Attach{Conn: conn, Initial: initial, Stdin: x.Request.AttachStdin, Stdout: x.Request.AttachStdout,
			Stderr: x.Request.AttachStderr, Mux: !x.Request.Tty, DetachKeys: x.Keys}
		err = s.execRun(context.WithoutCancel(ctx), e, x, request)
	}
	if err != nil {
		text := []byte(err.Error() + "\r\n")
		if !x.Request.Tty {
			text = append(stream.Header("stdout", len(text)), text...) // Docker's choice
		}
		_, _ = spare.Write(text) // a client that has gone needs no reason
	}
	return nil
}

// execRequest resolves the user and composes the process.
func (s *Service) execRequest(e *entry, x *execs.Exec, o ExecStartOptions) (handle.ExecRequest, error) {
	if dir := x.Request.WorkingDir; dir != "" && !strings.HasPrefix(dir, "/") {
		return handle.ExecRequest{}, invalid("the working directory '%s' is invalid, it needs to be an absolute path", dir)
	}
	rec := e.record()
	name, groups := x.Request.User, []string(nil)
	if name == "" {
		name, groups = rec.Config.User, rec.HostConfig.GroupAdd
	}
	passwd, group, err := rootview.Accounts(append([]string{rec.Root.Upper}, rec.Root.Lower...))
	if err != nil {
		return handle.ExecRequest{}, err
	}
	user, err := ocispec.ResolveUser(name, groups, passwd, group)
	if err != nil {
		return handle.ExecRequest{}, err
	}
	size := x.Request.ConsoleSize
	if o.ConsoleSize != nil {
		size = o.ConsoleSize
	}
	p, err := ocispec.Exec(ocispec.ExecInput{Request: x.Request, User: user, Hostname: rec.Config.Hostname, Config: rec.Config, HostConfig: rec.HostConfig, Defaults: s.opts.Spec})
	if err != nil {
		return handle.ExecRequest{}, err
	}
	r := handle.ExecRequest{ID: x.ID, Process: p, OpenStdin: x.Request.AttachStdin && !o.Detach}
	if size != nil {
		r.Height, r.Width = uint32(size[0]), uint32(size[1])
	}
	return r, nil
}

// execRun starts the process and follows it in the background.
func (s *Service) execRun(ctx context.Context, e *entry, x *execs.Exec, request handle.ExecRequest) error {
	s.execEvent(e, x, events.ActionExecStart, true, nil)
	pid, err := x.Shim.Exec(ctx, request)
	if err != nil {
		code := codeNotExecutable
		if errors.Is(err, runtime.ErrNotFound) {
			code = codeNotFound
		}
		if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotExecutable) {
			err = fault.Wrap(fault.Invalid, err)
		}
		x.End(code)
		return err
	}
	x.Began(pid)
	s.wait.Go(func() {
		st, err := x.Shim.ExecWait(context.Background(), x.ID)
		code := st.ExitCode
		if err != nil {
			if s.closing() {
				return
			}
			code = codeKilled // its container has ended, and it with it
		}
		x.End(code)
		s.execEvent(e, x, events.ActionExecDie, false, map[string]string{"exitCode": strconv.Itoa(code)})
	})
	return nil
}

// execEvent publishes; create and start carry the command, as in Docker.
func (s *Service) execEvent(e *entry, x *execs.Exec, action events.Action, command bool, extra map[string]string) {
	attributes := map[string]string{"execID": x.ID}
	for k, v := range extra {
		attributes[k] = v
	}
	if command {
		action += events.Action(": " + x.Request.Cmd[0] + " " + strings.Join(x.Request.Cmd[1:], " "))
	}
	s.event(e.record(), action, attributes)
}

// ExecResize sets the size of an exec's terminal.
func (s *Service) ExecResize(ctx context.Context, execID string, height, width uint32) error {
	x, err := s.execs.Find(execID)
	if err != nil {
		return err
	}
	if err := x.AwaitStart(ctx); err != nil {
		return err
	}
	return x.Shim.ExecResize(ctx, execID, height, width)
}

// ExecInspect describes an exec.
func (s *Service) ExecInspect(ctx context.Context, execID string) (*container.ExecInspectResponse, error) {
	x, err := s.execs.Find(execID)
	if err != nil {
		return nil, err
	}
	return x.Inspect(ctx), nil
}
