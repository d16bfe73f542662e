package client

import (
	"context"
	"net/url"

	"github.com/moby/moby/api/types/checkpoint"
)

// CheckpointCreate saves the processes of a running container.
func (c *Client) CheckpointCreate(ctx context.Context, name string, o checkpoint.CreateRequest) error {
	name, err := checked("container", name)
	if err != nil {
		return err
	}
	return c.send(ctx, post("/containers/"+name+"/checkpoints", nil, o))
}

// CheckpointList names the checkpoints of a container; dir is the daemon's place for
// them, or another.
func (c *Client) CheckpointList(ctx context.Context, name, dir string) ([]checkpoint.Summary, error) {
	name, err := checked("container", name)
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	text(q, "dir", dir)
	return fetch[[]checkpoint.Summary](ctx, c, get("/containers/"+name+"/checkpoints", q))
}

// CheckpointRemove removes a checkpoint.
func (c *Client) CheckpointRemove(ctx context.Context, name, dir, id string) error {
	name, err := checked("container", name)
	if err != nil {
		return err
	}
	if id, err = checked("checkpoint", id); err != nil {
		return err
	}
	q := url.Values{}
	text(q, "dir", dir)
	return c.send(ctx, del("/containers/"+name+"/checkpoints/"+id, q))
}
