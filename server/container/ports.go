package container

import (
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/server"
)

// ports changes the published ports of a container, which Docker's API cannot: an
// addition of Sampan's. The body is {"Add": {"80/tcp": [{"HostPort": "8080"}]},
// "Remove": {"81/tcp": null}}; the answer has no body.
func (r routes) ports(c *server.Call) error {
	var change membership.PortChange
	if err := c.DecodeRequired(&change); err != nil {
		return err
	}
	if err := r.containers.ChangePorts(c.Context(), c.Name, change); err != nil {
		return err
	}
	return c.NoContent()
}
