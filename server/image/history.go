package image

import (
	"net/http"

	"github.com/sampan-containers/sampan/server"
)

func (r routes) history(c *server.Call) error {
	items, err := r.images.History(c.Context(), c.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, items)
}
