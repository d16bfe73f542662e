package container

import (
	"net/http"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) prune(c *server.Call) error {
	filters, err := c.Filters("label", "label!", "until", "dry-run")
	if err != nil {
		return err
	}
	until, err := server.Until(filters)
	if err != nil {
		return err
	}
	dry, err := filters.Bool("dry-run", false)
	if err != nil {
		return err
	}
	report, err := r.containers.Prune(c.Context(), container.Filters(filters), until, dry)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, report)
}
