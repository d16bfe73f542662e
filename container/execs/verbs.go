package execs

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/background"
	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/container/stream"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/handle"
)

// Dependencies are what execs stand on.
type Dependencies struct {
	Containers *index.Index
	Events     notice.Publisher
	Work       *background.Work
	Spec       ocispec.Defaults
	Registry   *Registry
}

// Execs has the verbs on execs.
type Execs struct{ d Dependencies }

// New returns the verbs on the execs of a registry.
func New(d Dependencies) *Execs { return &Execs{d} }

// StartOptions says how a prepared exec is run.
type StartOptions struct {
	Detach, Tty bool
	ConsoleSize *[2]uint      // height, width
	End         bool          // tell of the exit code in a last frame, see wire.FrameEnd
	Hijack      stream.Hijack // not used with Detach
}

// ExecCreate prepares a command in a running container.
func (s *Execs) ExecCreate(ctx context.Context, ref string, r *container.ExecCreateRequest) (id string, err error) {
	e, err := s.d.Containers.Find(ref)
	if err != nil {
		return "", err
	}
	switch e.Record().State.Status {
	case container.StatePaused:
		return "", fault.New(fault.Conflict, "Container %s is paused, unpause the container before exec", ref)
	case container.StateRestarting:
		return "", fault.New(fault.Conflict, "container %s is restarting, wait until the container is running", e.ID)
	}
	live, err := e.Live()
	if err != nil {
		return "", err
	}
	if r == nil || len(r.Cmd) == 0 {
		return "", fault.New(fault.Invalid, "no exec command specified")
	}
	if err := request.CheckText("exec", append(append(slices.Clone(r.Cmd), r.Env...), r.WorkingDir, r.User)...); err != nil {
		return "", err
	}
	for _, env := range r.Env {
		if env == "" || env[0] == '=' {
			return "", fault.New(fault.Invalid, "invalid environment variable: %s", env)
		}
	}
	keys, err := request.DetachKeys(r.DetachKeys)
	if err != nil {
		return "", err
	}
	x := &Exec{ID: request.NewID(), Container: e.ID, Request: r, Keys: keys, Shim: live.Shim}
	if err := s.d.Registry.Add(x); err != nil {
		return "", err
	}
	s.d.Events.Publish(Notice(e.Record(), x, events.ActionExecCreate, true, nil))
	return x.ID, nil
}

// ExecStart runs a prepared exec. Without Detach it hijacks the connection,
// hands it to the shim and returns. A command that is missing or cannot be
// executed is fault.Invalid; on a hijacked connection the reason is written
// there, and inspect shows exit code 127 or 126.
func (s *Execs) ExecStart(ctx context.Context, execID string, o StartOptions) error {
	x, err := s.d.Registry.Find(execID)
	if err != nil {
		return err
	}
	e, err := s.d.Containers.Find(x.Container)
	if err != nil {
		return err
	}
	if _, err := e.Live(); err != nil {
		return err
	}
	if err := x.Claim(); err != nil {
		return err
	}
	if o.Detach {
		request, err := Compose(e.Record(), links.Environment(s.d.Containers, e.Record()), x, s.d.Spec, o)
		if err != nil {
			x.End(record.ExitNotExecutable)
			return err
		}
		return s.run(ctx, e, x, request)
	}
	// As in Docker it is the start that says whether the stream has frames, not the
	// terminal of the exec: clients send both, and some only the one.
	conn, initial, err := o.Hijack(o.Tty)
	if err != nil {
		x.End(record.ExitNotExecutable)
		return err
	}
	// The shim's call closes the connection; a copy carries the reason of a failure.
	spare, err := stream.Duplicate(conn)
	if err != nil {
		x.End(record.ExitNotExecutable)
		return errors.Join(err, conn.Close())
	}
	defer spare.Close()
	request, err := Compose(e.Record(), links.Environment(s.d.Containers, e.Record()), x, s.d.Spec, o)
	if err != nil {
		x.End(record.ExitNotExecutable)
		conn.Close()
	} else {
		request.Attach = &handle.Attach{Conn: conn, Initial: initial, Stdin: x.Request.AttachStdin, Stdout: x.Request.AttachStdout,
			Stderr: x.Request.AttachStderr, Mux: !o.Tty, DetachKeys: x.Keys, End: o.End}
		err = s.run(context.WithoutCancel(ctx), e, x, request)
	}
	if err != nil {
		text := []byte(err.Error() + "\r\n")
		if !o.Tty {
			text = append(stream.Header("stdout", len(text)), text...) // Docker's choice
		}
		_, _ = spare.Write(text) // a client that has gone needs no reason
	}
	return nil
}

// Compose resolves the user and composes the process. config is the container's, with
// the variables of its links.
func Compose(rec *record.Record, config *container.Config, x *Exec, defaults ocispec.Defaults, o StartOptions) (handle.ExecRequest, error) {
	if dir := x.Request.WorkingDir; dir != "" && !strings.HasPrefix(dir, "/") {
		return handle.ExecRequest{}, fault.New(fault.Invalid, "the working directory '%s' is invalid, it needs to be an absolute path", dir)
	}
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
	p, err := ocispec.Exec(ocispec.ExecInput{Request: x.Request, User: user, Hostname: rec.Config.Hostname, Config: config, HostConfig: rec.HostConfig, Defaults: defaults})
	if err != nil {
		return handle.ExecRequest{}, err
	}
	r := handle.ExecRequest{ID: x.ID, Process: p, OpenStdin: x.Request.AttachStdin && !o.Detach}
	if size != nil {
		r.Height, r.Width = uint32(size[0]), uint32(size[1])
	}
	return r, nil
}

// run starts the process and follows it in the background.
func (s *Execs) run(ctx context.Context, e *index.Entry, x *Exec, request handle.ExecRequest) error {
	s.d.Events.Publish(Notice(e.Record(), x, events.ActionExecStart, true, nil))
	pid, err := x.Shim.Exec(ctx, request)
	if err != nil {
		code := record.ExitNotExecutable
		if errors.Is(err, runtime.ErrNotFound) {
			code = record.ExitNotFound
		}
		if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotExecutable) {
			err = fault.Wrap(fault.Invalid, err)
		}
		x.End(code)
		return err
	}
	x.Began(pid)
	s.d.Work.Go(func() {
		st, err := x.Shim.ExecWait(context.Background(), x.ID)
		code := st.ExitCode
		if err != nil {
			if s.d.Work.Closing() {
				return
			}
			code = record.ExitKilled // its container has ended, and it with it
		}
		x.End(code)
		s.d.Events.Publish(Notice(e.Record(), x, events.ActionExecDie, false, map[string]string{"exitCode": strconv.Itoa(code)}))
	})
	return nil
}

// Notice is what happened to an exec; create and start carry the command, as in Docker.
func Notice(rec *record.Record, x *Exec, action events.Action, command bool, extra map[string]string) events.Message {
	attributes := map[string]string{"execID": x.ID}
	for k, v := range extra {
		attributes[k] = v
	}
	if command {
		action += events.Action(": " + x.Request.Cmd[0] + " " + strings.Join(x.Request.Cmd[1:], " "))
	}
	return notice.Container(rec, action, attributes)
}

// ExecResize sets the size of an exec's terminal.
func (s *Execs) ExecResize(ctx context.Context, execID string, height, width uint32) error {
	x, err := s.d.Registry.Find(execID)
	if err != nil {
		return err
	}
	if err := x.AwaitStart(ctx); err != nil {
		return err
	}
	return x.Shim.ExecResize(ctx, execID, height, width)
}

// ExecInspect describes an exec.
func (s *Execs) ExecInspect(ctx context.Context, execID string) (*container.ExecInspectResponse, error) {
	x, err := s.d.Registry.Find(execID)
	if err != nil {
		return nil, err
	}
	return x.Inspect(ctx), nil
}
