package container

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/shim/handle"
)

const (
	// execKept is how long an exec that has ended can still be inspected.
	execKept = 5 * time.Minute
	// maxExecs bounds what one container's execs take in memory.
	maxExecs = 10_000
)

// execution is one exec: prepared, running or ended.
type execution struct {
	id      string
	e       *entry
	run     *run
	request *container.ExecCreateRequest
	keys    []byte

	mu      sync.Mutex
	started bool
	pid     int
	ended   bool
	code    int
	at      time.Time // of the end
}

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
	if err := checkText("exec", append(append(slices.Clone(r.Cmd), r.Env...), r.WorkingDir, r.User)...); err != nil {
		return "", err
	}
	for _, env := range r.Env {
		if env == "" || env[0] == '=' {
			return "", invalid("invalid environment variable: %s", env)
		}
	}
	keys, err := detachKeys(r.DetachKeys)
	if err != nil {
		return "", err
	}
	x := &execution{id: newID(), e: e, run: live, request: r, keys: keys}
	if err := s.keepExec(x); err != nil {
		return "", err
	}
	s.execEvent(x, events.ActionExecCreate, true, nil)
	return x.id, nil
}

// keepExec makes an exec findable and forgets old ones of the container.
func (s *Service) keepExec(x *execution) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	if x.e.execs == nil {
		x.e.execs = map[string]*execution{}
	}
	for id, old := range x.e.execs {
		if old.expired() {
			delete(x.e.execs, id)
			delete(s.execs, id)
		}
	}
	if len(x.e.execs) >= maxExecs {
		return fault.New(fault.Exhausted, "container %s has %d execs already", x.e.id, maxExecs)
	}
	x.e.execs[x.id] = x
	s.execs[x.id] = x
	return nil
}

func (x *execution) expired() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ended && time.Since(x.at) > execKept
}

// forgetExecs drops the execs of a run that is over.
func (s *Service) forgetExecs(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, x := range e.execs {
		x.end(codeKilled)
		if x.expired() || e.removed {
			delete(s.execs, id)
			delete(e.execs, id)
		}
	}
}

// end records an exit code unless there is one already.
func (x *execution) end(code int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return false
	}
	x.ended, x.code, x.pid, x.at = true, code, 0, time.Now()
	return true
}

func (s *Service) exec(id string) (*execution, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if x, ok := s.execs[id]; ok {
		return x, nil
	}
	return nil, fault.New(fault.NotFound, "No such exec instance: %s", id)
}

// ExecStart runs a prepared exec. Without Detach it hijacks the connection,
// hands it to the shim and returns. A command that is missing or cannot be
// executed is fault.Invalid; on a hijacked connection the reason is written
// there, and inspect shows exit code 127 or 126.
func (s *Service) ExecStart(ctx context.Context, execID string, o ExecStartOptions) error {
	x, err := s.exec(execID)
	if err != nil {
		return err
	}
	if _, err := x.e.live(); err != nil {
		return err
	}
	if err := x.claim(); err != nil {
		return err
	}
	if o.Detach {
		request, err := s.execRequest(x, o)
		if err != nil {
			x.end(codeNotExecutable)
			return err
		}
		return s.execRun(ctx, x, request)
	}
	conn, initial, err := o.Hijack(x.request.Tty)
	if err != nil {
		x.end(codeNotExecutable)
		return err
	}
	// The shim's call closes the connection; a copy carries the reason of a failure.
	spare, err := duplicate(conn)
	if err != nil {
		x.end(codeNotExecutable)
		return errors.Join(err, conn.Close())
	}
	defer spare.Close()
	request, err := s.execRequest(x, o)
	if err != nil {
		x.end(codeNotExecutable)
		conn.Close()
	} else {
		request.Attach = &handle.Attach{Conn: conn, Initial: initial, Stdin: x.request.AttachStdin, Stdout: x.request.AttachStdout,
			Stderr: x.request.AttachStderr, Mux: !x.request.Tty, DetachKeys: x.keys}
		err = s.execRun(context.WithoutCancel(ctx), x, request)
	}
	if err != nil {
		text := []byte(err.Error() + "\r\n")
		if !x.request.Tty {
			text = append(frameHeader("stderr", len(text)), text...)
		}
		_, _ = spare.Write(text) // a client that has gone needs no reason
	}
	return nil
}

// claim lets an exec be started once.
func (x *execution) claim() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended:
		return fault.New(fault.Conflict, "exec command %s has already run", x.id)
	case x.started:
		return fault.New(fault.Conflict, "exec command %s is already running", x.id)
	}
	x.started = true
	return nil
}

// execRequest resolves the user and composes the process.
func (s *Service) execRequest(x *execution, o ExecStartOptions) (handle.ExecRequest, error) {
	if dir := x.request.WorkingDir; dir != "" && !strings.HasPrefix(dir, "/") {
		return handle.ExecRequest{}, invalid("the working directory '%s' is invalid, it needs to be an absolute path", dir)
	}
	rec := x.e.record()
	name, groups := x.request.User, []string(nil)
	if name == "" {
		name, groups = rec.Config.User, rec.HostConfig.GroupAdd
	}
	passwd, group, err := accounts(append([]string{rec.Root.Upper}, rec.Root.Lower...))
	if err != nil {
		return handle.ExecRequest{}, err
	}
	user, err := ocispec.ResolveUser(name, groups, passwd, group)
	if err != nil {
		return handle.ExecRequest{}, err
	}
	size := x.request.ConsoleSize
	if o.ConsoleSize != nil {
		size = o.ConsoleSize
	}
	p, err := ocispec.Exec(ocispec.ExecInput{Request: x.request, User: user, Hostname: rec.Config.Hostname, Config: rec.Config, HostConfig: rec.HostConfig, Defaults: s.opts.Spec})
	if err != nil {
		return handle.ExecRequest{}, err
	}
	r := handle.ExecRequest{ID: x.id, Process: p, OpenStdin: x.request.AttachStdin && !o.Detach}
	if size != nil {
		r.Height, r.Width = uint32(size[0]), uint32(size[1])
	}
	return r, nil
}

// execRun starts the process and follows it in the background.
func (s *Service) execRun(ctx context.Context, x *execution, request handle.ExecRequest) error {
	s.execEvent(x, events.ActionExecStart, true, nil)
	pid, err := x.run.shim.Exec(ctx, request)
	if err != nil {
		code := codeNotExecutable
		if errors.Is(err, runtime.ErrNotFound) {
			code = codeNotFound
		}
		if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotExecutable) {
			err = fault.Wrap(fault.Invalid, err)
		}
		x.end(code)
		return err
	}
	x.mu.Lock()
	if !x.ended {
		x.pid = pid
	}
	x.mu.Unlock()
	s.wait.Go(func() {
		st, err := x.run.shim.ExecWait(context.Background(), x.id)
		code := st.ExitCode
		if err != nil {
			if s.closing() {
				return
			}
			code = codeKilled // its container has ended, and it with it
		}
		x.end(code)
		s.execEvent(x, events.ActionExecDie, false, map[string]string{"exitCode": strconv.Itoa(code)})
	})
	return nil
}

// execEvent publishes; create and start carry the command, as in Docker.
func (s *Service) execEvent(x *execution, action events.Action, command bool, extra map[string]string) {
	attributes := map[string]string{"execID": x.id}
	for k, v := range extra {
		attributes[k] = v
	}
	if command {
		action += events.Action(": " + strings.Join(x.request.Cmd, " "))
	}
	s.event(x.e.record(), action, attributes)
}

// ExecResize sets the size of an exec's terminal.
func (s *Service) ExecResize(ctx context.Context, execID string, height, width uint32) error {
	x, err := s.exec(execID)
	if err != nil {
		return err
	}
	if st := x.status(ctx); !st.Running {
		return fault.New(fault.Conflict, "exec %s is not running", execID)
	}
	return x.run.shim.ExecResize(ctx, execID, height, width)
}

// status asks the shim, which knows of an exec's end before its stream ends.
func (x *execution) status(ctx context.Context) handle.ExecState {
	x.mu.Lock()
	st := handle.ExecState{Running: x.started && x.pid != 0 && !x.ended, Pid: x.pid, ExitCode: x.code}
	x.mu.Unlock()
	if !st.Running {
		return st
	}
	now, err := x.run.shim.ExecState(ctx, x.id)
	if err == nil {
		return now
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ended {
		return st
	}
	return handle.ExecState{ExitCode: x.code}
}

// ExecInspect describes an exec.
func (s *Service) ExecInspect(ctx context.Context, execID string) (*container.ExecInspectResponse, error) {
	x, err := s.exec(execID)
	if err != nil {
		return nil, err
	}
	st := x.status(ctx)
	x.mu.Lock()
	started := x.started
	x.mu.Unlock()
	out := &container.ExecInspectResponse{
		ID: x.id, Running: st.Running, ContainerID: x.e.id, Pid: st.Pid, CanRemove: started && !st.Running,
		OpenStdin: x.request.AttachStdin, OpenStdout: x.request.AttachStdout, OpenStderr: x.request.AttachStderr,
		DetachKeys: []byte{},
		ProcessConfig: &container.ExecProcessConfig{
			Tty: x.request.Tty, Entrypoint: x.request.Cmd[0], Arguments: x.request.Cmd[1:], Privileged: &x.request.Privileged, User: x.request.User,
		},
	}
	if x.request.DetachKeys != "" {
		out.DetachKeys = x.keys
	}
	if started && !st.Running {
		out.ExitCode = &st.ExitCode
	}
	return out, nil
}

// execIDs lists the execs of a container that run, for inspect.
func (e *entry) execIDs() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []string
	for id, x := range e.execs {
		x.mu.Lock()
		if x.started && !x.ended {
			ids = append(ids, id)
		}
		x.mu.Unlock()
	}
	slices.Sort(ids)
	return ids
}
