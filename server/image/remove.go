package image

import (
	"net/http"
	"strings"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) remove(c *server.Call) error {
	if strings.TrimSpace(c.Name) == "" {
		return fault.New(fault.Invalid, "image name cannot be blank")
	}
	deleted, err := r.images.Delete(c.Context(), c.Name, c.Bool("force"), !c.Bool("noprune"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, deleted)
}
