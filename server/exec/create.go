package exec

import (
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) create(c *server.Call) error {
	var body api.ExecCreateRequest
	if err := c.Decode(&body); err != nil {
		return err
	}
	if len(body.Cmd) == 0 {
		return fault.New(fault.Invalid, "No exec command specified")
	}
	if c.Version < consoleSizeSince {
		body.ConsoleSize = nil
	}
	id, err := r.execs.ExecCreate(c.Context(), c.Name, &body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, api.ExecCreateResponse{ID: id})
}
