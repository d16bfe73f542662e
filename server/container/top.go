package container

import (
	"net/http"

	"github.com/sampan-containers/sampan/server"
)

func (r routes) top(c *server.Call) error {
	answer, err := r.containers.Top(c.Context(), c.Name, c.Query("ps_args"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, answer)
}
