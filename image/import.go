package image

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image/changes"
	"github.com/sampan-containers/sampan/layer"
)

// rootFSType is the only type of root file system that image configs know.
const rootFSType = "layers"

// ImportOptions are the parameters of images/create?fromSrc=-.
type ImportOptions struct {
	// Reference is repo[:tag], or empty for an image without a name.
	Reference string
	// Message becomes the comment; empty means "Imported from -".
	Message string
	// Changes are Dockerfile instructions applied to the config.
	Changes []string
	// Platform is os[/arch[/variant]]; empty means this machine's.
	Platform string
}

// Import makes an image of one layer from a tar, plain or compressed, and
// returns its ID. To progress it writes Docker's JSON messages, and nothing
// before the image exists, so that a failure can still become an HTTP status.
// Nothing is kept when it fails.
func (s *Service) Import(ctx context.Context, r io.Reader, o ImportOptions, progress io.Writer) (digest.Digest, error) {
	var name reference.Named
	var err error
	if o.Reference != "" {
		if name, err = ParseName(o.Reference, ""); err != nil {
			return "", err
		}
	}
	cfg := &dockerspec.DockerOCIImage{}
	if cfg.Platform, err = parsePlatform(o.Platform); err != nil {
		return "", err
	}
	if err := changes.Apply(&cfg.Config, o.Changes); err != nil {
		return "", err
	}
	body := bufio.NewReader(r)
	if _, err := body.Peek(1); errors.Is(err, io.EOF) {
		return "", fault.New(fault.Invalid, "import: the archive is empty (0 bytes); for an image without files import an empty tar: tar -c -T /dev/null")
	}
	message := o.Message
	if message == "" {
		message = "Imported from -"
	}
	created := time.Now().UTC()
	cfg.Created = &created
	cfg.History = []ocispec.History{{Created: &created, Comment: message}}
	id, err := s.fromTar(ctx, body, cfg, name, record{Created: created})
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	s.publish(events.ActionImport, id, id.String())
	if name != nil {
		s.publish(events.ActionTag, id, reference.FamiliarString(name))
	}
	return id, WriteMessage(progress, jsonstream.Message{Status: id.String()})
}

// fromTar makes an image of one layer: the layer first, then the config, then
// the record and the name in one transaction.
func (s *Service) fromTar(ctx context.Context, r io.Reader, cfg *dockerspec.DockerOCIImage, name reference.Named, rec record) (digest.Digest, error) {
	// The decoders and buffers of one unpack are larger than the idle daemon.
	defer func() { go debug.FreeOSMemory() }()
	info, err := s.layers.Unpack(ctx, r, "")
	if err != nil {
		return "", err
	}
	id, err := s.record(ctx, info, cfg, name, rec)
	s.release(info.DiffID)
	return id, err
}

func (s *Service) record(ctx context.Context, info *layer.Info, cfg *dockerspec.DockerOCIImage, name reference.Named, rec record) (digest.Digest, error) {
	cfg.RootFS = ocispec.RootFS{Type: rootFSType, DiffIDs: []digest.Digest{info.DiffID}}
	rec.Layers = cfg.RootFS.DiffIDs
	rec.Size = info.Size
	return s.add(ctx, cfg, name, rec)
}

// WriteMessage writes one message of Docker's JSON stream.
func WriteMessage(w io.Writer, m jsonstream.Message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(raw, "\r\n"...)); err != nil {
		return fmt.Errorf("report progress: %w", err)
	}
	return nil
}
