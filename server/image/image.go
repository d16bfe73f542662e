// Package image serves the Engine API's /images routes.
package image

import (
	"context"
	"io"

	api "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/archive"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/server"
)

// Service is what the routes need of the image service. Errors carry a fault
// class; an unknown image is fault.NotFound.
type Service interface {
	List(ctx context.Context, o image.ListOptions) ([]api.Summary, error)
	Inspect(ctx context.Context, ref string) (*api.InspectResponse, error)
	History(ctx context.Context, ref string) ([]api.HistoryResponseItem, error)
	Tag(ctx context.Context, ref, repo, tag string) error
	Delete(ctx context.Context, ref string, force, prune bool) ([]api.DeleteResponse, error)
	Import(ctx context.Context, r io.Reader, o image.ImportOptions, progress io.Writer) (digest.Digest, error)
	Prune(ctx context.Context, o image.PruneOptions) (*api.PruneReport, error)
}

// Archives loads and saves.
type Archives interface {
	Load(ctx context.Context, r io.Reader, o archive.LoadOptions, progress io.Writer) error
	Save(ctx context.Context, names []string, platforms []ocispec.Platform, begin func() io.Writer) error
}

// Transfer is what the routes need of registries. Errors carry a fault class.
type Transfer interface {
	Pull(ctx context.Context, name string, o transfer.PullOptions, progress io.Writer) error
	Push(ctx context.Context, name string, o transfer.PushOptions, progress io.Writer) error
	Refetch(ctx context.Context, d image.Damage, logins transfer.Logins) error
}

// Integrity verifies and repairs.
type Integrity interface {
	Check(ctx context.Context) (*integrity.Report, error)
	Repair(ctx context.Context, report *integrity.Report, fetch integrity.Fetch) error
}

type routes struct {
	images    Service
	archives  Archives
	transfers Transfer
	integrity Integrity
}

// Register adds the routes to s.
func Register(s *server.Server, images Service, archives Archives, transfers Transfer, checks Integrity) {
	r := routes{images, archives, transfers, checks}
	s.Handle("GET /images/json", r.list)
	s.Handle("GET /images/{name}/json", r.inspect)
	s.Handle("GET /images/{name}/history", r.history)
	s.Handle("POST /images/{name}/tag", r.tag)
	s.Handle("DELETE /images/{name}", r.remove)
	s.Handle("POST /images/create", r.create)
	s.Handle("POST /images/{name}/push", r.push)
	s.Handle("POST /images/load", r.loadArchive)
	s.Handle("GET /images/get", r.saveSeveral)
	s.Handle("GET /images/{name}/get", r.saveOne)
	s.Handle("POST /images/prune", r.prune)
	s.Handle("POST /sampan/images/check", r.check)
}
