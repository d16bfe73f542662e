package client

import (
	"context"
	"net/url"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// ConsoleSize is the size of a terminal in characters.
type ConsoleSize struct{ Height, Width uint }

func (s ConsoleSize) pair(tty bool) (*[2]uint, error) {
	if s == (ConsoleSize{}) {
		return nil, nil
	}
	if !tty {
		return nil, errdefs.ErrInvalidArgument.WithMessage("console size is only supported when TTY is enabled")
	}
	return &[2]uint{s.Height, s.Width}, nil
}

// ExecCreateOptions describe a command in a running container.
type ExecCreateOptions struct {
	User, WorkingDir, DetachKeys            string
	Privileged, TTY                         bool
	AttachStdin, AttachStderr, AttachStdout bool
	ConsoleSize                             ConsoleSize
	Env, Cmd                                []string
}

// ExecCreateResult is a prepared command.
type ExecCreateResult struct{ ID string }

// ExecCreate prepares a command.
func (c *Client) ExecCreate(ctx context.Context, name string, o ExecCreateOptions) (ExecCreateResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ExecCreateResult{}, err
	}
	body, err := o.Body()
	if err != nil {
		return ExecCreateResult{}, err
	}
	got, err := fetch[container.ExecCreateResponse](ctx, c, post("/containers/"+name+"/exec", nil, body))
	return ExecCreateResult{ID: got.ID}, err
}

// ExecRunPath is the route of create and attached start in one request of
// Sampan's own.
func ExecRunPath(name string) string { return "/sampan/exec/" + url.PathEscape(name) }

// Body is the body of the request.
func (o ExecCreateOptions) Body() (container.ExecCreateRequest, error) {
	size, err := o.ConsoleSize.pair(o.TTY)
	return container.ExecCreateRequest{
		User: o.User, Privileged: o.Privileged, Tty: o.TTY, ConsoleSize: size,
		AttachStdin: o.AttachStdin, AttachStderr: o.AttachStderr, AttachStdout: o.AttachStdout,
		DetachKeys: o.DetachKeys, Env: o.Env, WorkingDir: o.WorkingDir, Cmd: o.Cmd,
	}, err
}

// ExecStartOptions start a command nobody is attached to.
type ExecStartOptions struct {
	Detach, TTY bool
	ConsoleSize ConsoleSize
}

// ExecStart starts a prepared command. To be attached to it, the connection is
// taken over instead (see package connect).
func (c *Client) ExecStart(ctx context.Context, id string, o ExecStartOptions) (struct{}, error) {
	id, err := checked("exec", id)
	if err != nil {
		return struct{}{}, err
	}
	size, err := o.ConsoleSize.pair(o.TTY)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.send(ctx, post("/exec/"+id+"/start", nil, container.ExecStartRequest{Detach: o.Detach, Tty: o.TTY, ConsoleSize: size}))
}

// ExecInspectOptions is empty.
type ExecInspectOptions struct{}

// ExecInspectResult is the state of a command.
type ExecInspectResult struct {
	ID, ContainerID string
	Running         bool
	ExitCode, PID   int
}

// ExecInspect returns the state of a command.
func (c *Client) ExecInspect(ctx context.Context, id string, _ ExecInspectOptions) (ExecInspectResult, error) {
	id, err := checked("exec", id)
	if err != nil {
		return ExecInspectResult{}, err
	}
	// Only what is used of container.ExecInspectResponse: it is asked for after every exec.
	got, err := fetch[struct {
		ID, ContainerID string
		Running         bool
		ExitCode        *int
		Pid             int
	}](ctx, c, get("/exec/"+id+"/json", nil))
	out := ExecInspectResult{ID: got.ID, ContainerID: got.ContainerID, Running: got.Running, PID: got.Pid}
	if got.ExitCode != nil {
		out.ExitCode = *got.ExitCode
	}
	return out, err
}

// ExecResizeOptions are the size of a terminal in characters.
type ExecResizeOptions ContainerResizeOptions

// ExecResize sets the size of a command's terminal.
func (c *Client) ExecResize(ctx context.Context, id string, o ExecResizeOptions) (struct{}, error) {
	id, err := checked("exec", id)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.send(ctx, post("/exec/"+id+"/resize", ContainerResizeOptions(o).query(), nil))
}
