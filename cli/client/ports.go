package client

import (
	"context"

	"github.com/moby/moby/api/types/network"
)

// ContainerPortsOptions says which published ports come and go; a port to remove
// without bindings goes as a whole.
type ContainerPortsOptions struct{ Add, Remove network.PortMap }

// ContainerPorts changes the published ports of a container: an addition of
// Sampan's.
func (c *Client) ContainerPorts(ctx context.Context, name string, o ContainerPortsOptions) error {
	name, err := checked("container", name)
	if err != nil {
		return err
	}
	return c.send(ctx, post("/sampan/containers/"+name+"/ports", nil, o))
}
