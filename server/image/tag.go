package image

import (
	"net/http"

	"github.com/sampan-containers/sampan/server"
)

func (r routes) tag(c *server.Call) error {
	if _, err := target(c.Query("repo"), c.Query("tag")); err != nil {
		return err
	}
	if err := r.images.Tag(c.Context(), c.Name, c.Query("repo"), c.Query("tag")); err != nil {
		return err
	}
	c.W.WriteHeader(http.StatusCreated)
	return nil
}
