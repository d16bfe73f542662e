package container

import (
	"context"

	"github.com/sampan-containers/sampan/server"
)

func (r routes) restart(c *server.Call) error {
	o, err := stopOptions(c)
	if err != nil {
		return err
	}
	if err := r.containers.Restart(context.WithoutCancel(c.Context()), c.Name, o); err != nil {
		return err
	}
	return c.NoContent()
}
