// Package container serves the Engine API's /containers routes. It turns
// requests into calls of the container service and answers into the shape of
// the client's API version; it decides nothing about containers itself.
package container

import (
	"context"
	"io"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/server"
)

// Service is what the routes need of the container service. Errors carry a
// fault class; an unknown container is fault.NotFound.
type Service interface {
	Checkpoints
	Announce() (id string)
	Create(ctx context.Context, o container.CreateOptions) (id string, warnings []string, err error)
	Start(ctx context.Context, ref string) error
	Stop(ctx context.Context, ref string, o container.StopOptions) error
	Kill(ctx context.Context, ref, signal string) error
	Restart(ctx context.Context, ref string, o container.StopOptions) error
	Wait(ctx context.Context, ref, condition string) (<-chan container.WaitResult, error)
	Remove(ctx context.Context, ref string, o container.RemoveOptions) error
	List(ctx context.Context, o container.ListOptions) ([]api.Summary, error)
	Inspect(ctx context.Context, ref string, size bool) (*api.InspectResponse, error)
	TTY(ref string) (bool, error)
	Logs(ctx context.Context, ref string, o container.LogsOptions, emit func(stream string, data []byte) error) error
	Attach(ctx context.Context, ref string, o container.AttachOptions) error
	Resize(ctx context.Context, ref string, height, width uint32) error
	StatPath(ctx context.Context, ref, path string) (*api.PathStat, error)
	ArchivePath(ctx context.Context, ref, path string, begin func(*api.PathStat) io.Writer) error
	ExtractToDir(ctx context.Context, ref, path string, content io.Reader, o container.ExtractOptions) error
	Changes(ctx context.Context, ref string) ([]api.FilesystemChange, error)
	Export(ctx context.Context, ref string, begin func() io.Writer) error
	Commit(ctx context.Context, ref string, o container.CommitOptions) (string, error)
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
	Rename(ctx context.Context, ref, name string) error
	Top(ctx context.Context, ref, options string) (*api.TopResponse, error)
	Stats(ctx context.Context, ref string, o container.StatsOptions, emit func(*container.StatsSample) error) error
	Update(ctx context.Context, ref string, u *api.UpdateConfig) (warnings []string, err error)
	ChangePorts(ctx context.Context, ref string, c membership.PortChange) error
	Prune(ctx context.Context, f container.Filters, until time.Time, dry bool) (*api.PruneReport, error)
}

type routes struct {
	containers Service
	cgroup2    bool
}

// Register adds the routes to s.
func Register(s *server.Server, containers Service) {
	r := routes{containers: containers, cgroup2: hasCgroup2()}
	s.Handle("POST /containers/create", r.create)
	s.Handle("GET /containers/json", r.list)
	s.Handle("GET /containers/{id}/json", r.inspect)
	s.Handle("POST /containers/{id}/start", r.start)
	s.Handle("POST /containers/{id}/stop", r.stop)
	s.Handle("POST /containers/{id}/restart", r.restart)
	s.Handle("POST /containers/{id}/kill", r.kill)
	s.Handle("POST /containers/{id}/wait", r.wait)
	s.Handle("GET /containers/{id}/logs", r.logs)
	s.Handle("POST /containers/{id}/attach", r.attach)
	s.Handle("GET /containers/{id}/attach/ws", r.attachWebSocket)
	s.Handle("POST /containers/{id}/resize", r.resize)
	s.Handle("POST /containers/{id}/pause", r.pause)
	s.Handle("POST /containers/{id}/unpause", r.unpause)
	s.Handle("POST /containers/{id}/rename", r.rename)
	s.Handle("GET /containers/{id}/top", r.top)
	s.Handle("GET /containers/{id}/stats", r.stats)
	s.Handle("POST /containers/{id}/update", r.update)
	s.Handle("POST /sampan/containers/{id}/ports", r.ports)
	s.Handle("POST /containers/prune", r.prune)
	s.Handle("DELETE /containers/{id}", r.remove)
	s.Handle("DELETE /containers/{id}/{alias}", r.removeLink)
	s.Handle("HEAD /containers/{id}/archive", r.statPath)
	s.Handle("GET /containers/{id}/archive", r.getArchive)
	s.Handle("PUT /containers/{id}/archive", r.putArchive)
	s.Handle("GET /containers/{id}/changes", r.changes)
	s.Handle("GET /containers/{id}/export", r.export)
	s.Handle("GET /containers/{id}/checkpoints", r.checkpointList)
	s.Handle("POST /containers/{id}/checkpoints", r.checkpointCreate)
	s.Handle("DELETE /containers/{id}/checkpoints/{checkpoint}", r.checkpointRemove)
	s.Handle("POST /commit", r.commit)
	s.Handle("POST /sampan/run", r.run)
}
