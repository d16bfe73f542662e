package container

import (
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) remove(c *server.Call) error {
	o := container.RemoveOptions{Force: c.Bool("force"), Volumes: c.Bool("v"), Link: c.Bool("link")}
	if err := r.containers.Remove(c.Context(), c.Name, o); err != nil {
		return err
	}
	return c.NoContent()
}

// removeLink ends a link, which is named by its owner and its alias.
func (r routes) removeLink(c *server.Call) error {
	if !c.Bool("link") {
		return fault.New(fault.NotFound, "No such container: %s/%s", c.Name, c.Name2)
	}
	if err := r.containers.Remove(c.Context(), c.Name+"/"+c.Name2, container.RemoveOptions{Link: true}); err != nil {
		return err
	}
	return c.NoContent()
}
