package container

import (
	"context"

	"github.com/sampan-containers/sampan/server"
)

// A client that goes away must not leave a container half frozen: a pause that
// has begun is brought to its end, which is bounded.

func (r routes) pause(c *server.Call) error {
	if err := r.containers.Pause(context.WithoutCancel(c.Context()), c.Name); err != nil {
		return err
	}
	return c.NoContent()
}

func (r routes) unpause(c *server.Call) error {
	if err := r.containers.Unpause(context.WithoutCancel(c.Context()), c.Name); err != nil {
		return err
	}
	return c.NoContent()
}
