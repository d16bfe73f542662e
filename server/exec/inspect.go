package exec

import (
	"net/http"

	"github.com/sampan-containers/sampan/server"
)

func (r routes) inspect(c *server.Call) error {
	answer, err := r.execs.ExecInspect(c.Context(), c.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, answer)
}
