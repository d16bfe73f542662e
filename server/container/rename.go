package container

import "github.com/sampan-containers/sampan/server"

func (r routes) rename(c *server.Call) error {
	if err := r.containers.Rename(c.Context(), c.Name, c.Query("name")); err != nil {
		return err
	}
	return c.NoContent()
}
