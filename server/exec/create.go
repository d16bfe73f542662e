package exec

import (
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

func (r routes) create(c *server.Call) error {
	id, _, err := r.prepare(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, api.ExecCreateResponse{ID: id})
}

// prepare makes the exec that a request describes.
func (r routes) prepare(c *server.Call) (id string, body api.ExecCreateRequest, err error) {
	if err := c.Decode(&body); err != nil {
		return "", body, err
	}
	if len(body.Cmd) == 0 {
		return "", body, fault.New(fault.Invalid, "No exec command specified")
	}
	if c.Version < consoleSizeSince {
		body.ConsoleSize = nil
	}
	id, err = r.execs.ExecCreate(c.Context(), c.Name, &body)
	return id, body, err
}
