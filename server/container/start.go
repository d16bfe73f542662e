package container

import (
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

// emptyObject is the longest body, "null" or "{}" with line ends, that means none.
const emptyObject = 7

func (r routes) start(c *server.Call) error {
	if c.ContentLength > emptyObject || c.ContentLength == -1 {
		return fault.New(fault.Invalid, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	}
	if name := c.Query("checkpoint"); name != "" {
		images, err := r.containers.CheckpointImages(c.Name, c.Query("checkpoint-dir"), name)
		if err != nil {
			return err
		}
		if err := r.containers.StartFrom(c.Context(), c.Name, images); err != nil {
			return err
		}
		return c.NoContent()
	}
	if err := r.containers.Start(c.Context(), c.Name); err != nil {
		return err
	}
	return c.NoContent()
}
