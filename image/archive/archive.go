// Package archive reads and writes images as one tar: Docker archives, as docker
// save and podman save write them, and OCI layouts.
//
// Load reads the stream once: what looks like a layer is unpacked while it passes,
// and the documents wait in a directory until the archive's own list, which comes
// last, says what belongs together. Compressed blobs of an OCI layout are kept, so
// the image can leave as it came.
//
// Save writes an archive that is both a Docker archive and an OCI layout. A layer
// goes out as the compressed blob that it came as, else as the tar that it was
// made of, byte for byte; so the image keeps its ID and, where nothing is missing,
// its manifest. Nothing passes through a temporary file, but for the rare tar that
// cannot be made again (layer.Info.TarSize).
package archive

import (
	"context"
	"io"

	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/content"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/layer"
)

const (
	blobDir      = "blobs/sha256/"
	manifestFile = "manifest.json"
	nameKey      = "io.containerd.image.name"

	listMediaType     = "application/vnd.docker.distribution.manifest.list.v2+json"
	manifestMediaType = "application/vnd.docker.distribution.manifest.v2+json"
	// gzipSuffixes are how the media types of gzip layers end, of OCI and Docker.
	ociGzip    = "+gzip"
	dockerGzip = ".tar.gzip"
)

// item is one image of a Docker archive's manifest.json.
type item struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Images is what this package needs of the image service; *image.Service is one.
type Images interface {
	Root() string
	Blobs() *content.Store
	Layers() *layer.Store
	Get(ctx context.Context, ref string) (*image.Image, error)
	Select(ctx context.Context, names []string, platforms []ocispec.Platform) ([]*image.Selected, error)
	Arrive(ctx context.Context, a image.Arrival) (digest.Digest, error)
	LayerBlobs(diffID digest.Digest) ([]ocispec.Descriptor, error)
	DiffIDOf(blob digest.Digest) (digest.Digest, bool)
	Guard(layers, blobs []digest.Digest) (release func())
	Unhold(layers, blobs []digest.Digest)
	Publish(action events.Action, id digest.Digest, name string)
}

// Service loads and saves. It is safe for concurrent use.
type Service struct{ images Images }

// New makes a Service.
func New(images Images) *Service { return &Service{images} }

// discard reads to the end.
func discard(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
