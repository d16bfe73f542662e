package exec

import (
	"net/http"

	"github.com/sampan-containers/sampan/server"
)

func (r routes) resize(c *server.Call) error {
	height, width, err := c.Size()
	if err != nil {
		return err
	}
	if err := r.execs.ExecResize(c.Context(), c.Name, height, width); err != nil {
		return err
	}
	c.W.WriteHeader(http.StatusOK)
	return nil
}
