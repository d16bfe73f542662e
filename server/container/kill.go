package container

import (
	"fmt"

	"github.com/sampan-containers/sampan/server"
)

func (r routes) kill(c *server.Call) error {
	if err := r.containers.Kill(c.Context(), c.Name, c.Query("signal")); err != nil {
		return fmt.Errorf("cannot kill container: %s: %w", c.Name, err)
	}
	return c.NoContent()
}
