package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"

	"github.com/moby/moby/api/types/container"
)

// ContainerStartOptions name a checkpoint to start from.
type ContainerStartOptions struct{ CheckpointID, CheckpointDir string }

// ContainerStart starts a container; a running one is left alone.
func (c *Client) ContainerStart(ctx context.Context, name string, o ContainerStartOptions) (struct{}, error) {
	q := url.Values{}
	text(q, "checkpoint", o.CheckpointID)
	text(q, "checkpoint-dir", o.CheckpointDir)
	return c.containerVerb(ctx, name, "start", q)
}

// containerVerb is POST /containers/NAME/VERB without content.
func (c *Client) containerVerb(ctx context.Context, name, verb string, q url.Values) (struct{}, error) {
	name, err := checked("container", name)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.send(ctx, post("/containers/"+name+"/"+verb, q, nil))
}

// ContainerStopOptions override the container's own signal and time-out (in
// seconds; negative waits without limit).
type ContainerStopOptions struct {
	Signal  string
	Timeout *int
}

func (o ContainerStopOptions) query() url.Values {
	q := url.Values{}
	text(q, "signal", o.Signal)
	if o.Timeout != nil {
		q.Set("t", strconv.Itoa(*o.Timeout))
	}
	return q
}

// ContainerStop stops a container.
func (c *Client) ContainerStop(ctx context.Context, name string, o ContainerStopOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "stop", o.query())
}

// ContainerRestartOptions are those of a stop.
type ContainerRestartOptions ContainerStopOptions

// ContainerRestart stops and starts a container.
func (c *Client) ContainerRestart(ctx context.Context, name string, o ContainerRestartOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "restart", ContainerStopOptions(o).query())
}

// ContainerKillOptions name the signal; empty is KILL.
type ContainerKillOptions struct{ Signal string }

// ContainerKill sends a signal to the main process.
func (c *Client) ContainerKill(ctx context.Context, name string, o ContainerKillOptions) (struct{}, error) {
	q := url.Values{}
	text(q, "signal", o.Signal)
	return c.containerVerb(ctx, name, "kill", q)
}

// ContainerPauseOptions is empty.
type ContainerPauseOptions struct{}

// ContainerPause freezes all processes.
func (c *Client) ContainerPause(ctx context.Context, name string, _ ContainerPauseOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "pause", nil)
}

// ContainerUnpauseOptions is empty.
type ContainerUnpauseOptions struct{}

// ContainerUnpause thaws all processes.
func (c *Client) ContainerUnpause(ctx context.Context, name string, _ ContainerUnpauseOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "unpause", nil)
}

// ContainerRenameOptions hold the new name.
type ContainerRenameOptions struct{ NewName string }

// ContainerRename gives a container another name.
func (c *Client) ContainerRename(ctx context.Context, name string, o ContainerRenameOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "rename", url.Values{"name": {o.NewName}})
}

// ContainerResizeOptions are the size of a terminal in characters.
type ContainerResizeOptions struct{ Height, Width uint }

func (o ContainerResizeOptions) query() url.Values {
	return url.Values{"h": {strconv.FormatUint(uint64(o.Height), 10)}, "w": {strconv.FormatUint(uint64(o.Width), 10)}}
}

// ContainerResize sets the size of the container's terminal.
func (c *Client) ContainerResize(ctx context.Context, name string, o ContainerResizeOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "resize", o.query())
}

// ContainerRemoveOptions say what goes along with the container.
type ContainerRemoveOptions struct{ RemoveVolumes, RemoveLinks, Force bool }

// ContainerRemove removes a container.
func (c *Client) ContainerRemove(ctx context.Context, name string, o ContainerRemoveOptions) (struct{}, error) {
	name, err := checked("container", name)
	if err != nil {
		return struct{}{}, err
	}
	q := url.Values{}
	flag(q, "v", o.RemoveVolumes)
	flag(q, "link", o.RemoveLinks)
	flag(q, "force", o.Force)
	return struct{}{}, c.send(ctx, del("/containers/"+name, q))
}

// ContainerPruneOptions select stopped containers.
type ContainerPruneOptions struct{ Filters Filters }

// ContainerPruneResult is what was removed.
type ContainerPruneResult struct{ Report container.PruneReport }

// ContainerPrune removes stopped containers.
func (c *Client) ContainerPrune(ctx context.Context, o ContainerPruneOptions) (ContainerPruneResult, error) {
	got, err := fetch[container.PruneReport](ctx, c, post("/containers/prune", o.Filters.query(), nil))
	return ContainerPruneResult{Report: got}, err
}

// ContainerUpdateOptions are the limits and the policy to change.
type ContainerUpdateOptions struct {
	Resources     *container.Resources
	RestartPolicy *container.RestartPolicy
}

// ContainerUpdateResult holds what the daemon had to say.
type ContainerUpdateResult struct{ Warnings []string }

// ContainerUpdate changes a container's limits.
func (c *Client) ContainerUpdate(ctx context.Context, name string, o ContainerUpdateOptions) (ContainerUpdateResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerUpdateResult{}, err
	}
	var u container.UpdateConfig
	if o.Resources != nil {
		u.Resources = *o.Resources
	}
	if o.RestartPolicy != nil {
		u.RestartPolicy = *o.RestartPolicy
	}
	got, err := fetch[container.UpdateResponse](ctx, c, post("/containers/"+name+"/update", nil, u))
	return ContainerUpdateResult{Warnings: got.Warnings}, err
}

// ContainerWaitOptions name what is waited for.
type ContainerWaitOptions struct{ Condition container.WaitCondition }

// ContainerWaitResult delivers one value on one of its channels.
type ContainerWaitResult struct {
	Result <-chan container.WaitResponse
	Error  <-chan error
}

// ContainerWait registers a wait; when it returns, the daemon has it.
func (c *Client) ContainerWait(ctx context.Context, name string, o ContainerWaitOptions) ContainerWaitResult {
	result, failed := make(chan container.WaitResponse, 1), make(chan error, 1)
	out := ContainerWaitResult{Result: result, Error: failed}
	name, err := checked("container", name)
	if err != nil {
		failed <- err
		return out
	}
	q := url.Values{}
	text(q, "condition", string(o.Condition))
	resp, err := c.do(ctx, post("/containers/"+name+"/wait", q, nil))
	if err != nil {
		failed <- err
		return out
	}
	go func() {
		defer finish(resp.Body)
		var w container.WaitResponse
		if err := json.NewDecoder(resp.Body).Decode(&w); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			failed <- connectionError{err}
			return
		}
		result <- w
	}()
	return out
}
