package container

import (
	"net/http"

	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

func (r routes) inspect(c *server.Call) error {
	answer, err := r.containers.Inspect(c.Context(), c.Name, c.Bool("size"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, compat.Container(c.Version, answer))
}
