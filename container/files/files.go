// Package files works on what a container has on disk: it copies files in and out,
// tells and exports changes, and makes images of them.
//
// The root of a running container is reached through its shim and without the
// container's lock; one that does not run is mounted for the daemon alone (view.go).
// Every path is resolved inside the root: what a container has there is hostile.
package files

import (
	"context"
	"io"
	"log/slog"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/layout"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/volumes"
	"github.com/sampan-containers/sampan/image"
)

// Images makes images; *image.Service is one.
type Images interface {
	Commit(ctx context.Context, diff io.Reader, o image.CommitOptions) (digest.Digest, error)
}

// Pauser stops the processes of a container while its changes are read.
type Pauser interface {
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
}

// Dependencies are what Files stands on.
type Dependencies struct {
	Containers *index.Index
	Volumes    *volumes.Volumes
	Paths      *layout.Paths
	Images     Images
	Pauser     Pauser
	Events     notice.Publisher
	Log        *slog.Logger
}

// Files has the verbs on the files of the containers of one index.
type Files struct{ d Dependencies }

// New returns the verbs.
func New(d Dependencies) *Files { return &Files{d} }
