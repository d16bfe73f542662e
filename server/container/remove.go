package container

import (
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) remove(c *server.Call) error {
	o := container.RemoveOptions{Force: c.Bool("force"), Volumes: c.Bool("v"), Link: c.Bool("link")}
	if err := r.containers.Remove(c.Context(), c.Name, o); err != nil {
		return err
	}
	return c.NoContent()
}
