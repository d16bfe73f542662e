// Package exec serves the Engine API's routes of execs: commands run in a
// container that runs already.
package exec

import (
	"context"
	"net/http"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
)

// Service is what the routes need of the container service. An unknown exec or
// container is fault.NotFound; starting an exec twice is fault.Conflict.
type Service interface {
	ExecCreate(ctx context.Context, ref string, r *api.ExecCreateRequest) (id string, err error)
	ExecStart(ctx context.Context, execID string, o container.ExecStartOptions) error
	ExecResize(ctx context.Context, execID string, height, width uint32) error
	ExecInspect(ctx context.Context, execID string) (*api.ExecInspectResponse, error)
}

// consoleSizeSince is the version in which an exec's first size came along.
var consoleSizeSince = server.V(1, 42)

type routes struct{ execs Service }

// Register adds the routes to s.
func Register(s *server.Server, execs Service) {
	r := routes{execs}
	s.Handle("POST /containers/{id}/exec", r.create)
	s.Handle("POST /exec/{id}/start", r.start)
	s.Handle("POST /exec/{id}/resize", r.resize)
	s.Handle("GET /exec/{id}/json", r.inspect)
}

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

// start runs an exec. Attached, the connection's descriptor goes to the
// container's shim and the stream does not run through the daemon.
func (r routes) start(c *server.Call) error {
	var body api.ExecStartRequest
	if err := c.Decode(&body); err != nil {
		return err
	}
	o := container.ExecStartOptions{Detach: body.Detach, Tty: body.Tty}
	if c.Version >= consoleSizeSince && body.Tty {
		o.ConsoleSize = body.ConsoleSize
	}
	if o.Detach {
		if err := r.execs.ExecStart(c.Context(), c.Name, o); err != nil {
			return err
		}
		c.W.WriteHeader(http.StatusOK)
		return nil
	}
	h := c.Hijack()
	h.Headers = true
	o.Hijack = h.Take
	// net/http takes a client that has closed its sending side, as one without
	// stdin does, for one that left.
	return h.Finish(r.execs.ExecStart(context.WithoutCancel(c.Context()), c.Name, o))
}

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

func (r routes) inspect(c *server.Call) error {
	answer, err := r.execs.ExecInspect(c.Context(), c.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, answer)
}
