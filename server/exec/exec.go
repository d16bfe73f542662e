// Package exec serves the Engine API's routes of execs: commands run in a
// container that runs already.
package exec

import (
	"context"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
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
	s.Handle("POST /sampan/exec/{id}", r.run)
}
