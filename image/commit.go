package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image/changes"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/state"
)

// emptyDiff is the diffID of a tar without entries: nothing changed.
var emptyDiff = digest.FromBytes(make([]byte, 1024))

// CommitOptions describe an image that stands on another one.
type CommitOptions struct {
	Parent    string // ID of the image below
	Config    dockerspec.DockerOCIImageConfig
	Changes   []string // Dockerfile instructions applied to Config
	Reference string   // repository[:tag], or empty
	Author    string
	Comment   string
	CreatedBy []string // the command that made the changes
}

// Commit makes an image of a parent and one layer more, whose tar is diff; an
// empty one adds no layer. Nothing is kept when it fails.
func (s *Service) Commit(ctx context.Context, diff io.Reader, o CommitOptions) (digest.Digest, error) {
	var name reference.Named
	var err error
	if o.Reference != "" {
		if name, err = ParseName(o.Reference, ""); err != nil {
			return "", err
		}
	}
	parent, err := s.Get(ctx, o.Parent)
	if err != nil {
		return "", err
	}
	if err := changes.Apply(&o.Config, o.Changes); err != nil {
		return "", err
	}
	defer func() { go debug.FreeOSMemory() }()
	info, err := s.layers.Unpack(ctx, diff, "")
	if err != nil {
		return "", err
	}
	defer s.release(info.DiffID)
	created := time.Now().UTC()
	cfg := *parent.Config
	cfg.Config, cfg.Author, cfg.Created = o.Config, o.Author, &created
	layers := append([]digest.Digest(nil), parent.record.Layers...)
	size := parent.Size
	empty := info.DiffID == emptyDiff
	if !empty {
		layers = append(layers, info.DiffID)
		size += info.Size
	}
	cfg.RootFS = ocispec.RootFS{Type: rootFSType, DiffIDs: layers}
	cfg.History = append(append([]ocispec.History(nil), parent.Config.History...), ocispec.History{
		Created: &created, Author: o.Author, Comment: o.Comment, CreatedBy: strings.Join(o.CreatedBy, " "), EmptyLayer: empty,
	})
	id, err := s.add(ctx, &cfg, name, record{Layers: layers, Size: size, Created: created, Parent: parent.ID})
	if err != nil {
		return "", err
	}
	s.publish(events.ActionCreate, id, id.String())
	if name != nil {
		s.publish(events.ActionTag, id, reference.FamiliarString(name))
	}
	return id, nil
}

// add keeps a config and records its image, whose layers are held, with a name.
func (s *Service) add(ctx context.Context, cfg *dockerspec.DockerOCIImage, name reference.Named, rec record) (digest.Digest, error) {
	raw, err := json.Marshal(cfg)
	if err != nil {
		return "", fmt.Errorf("encode the image's config: %w", err)
	}
	return s.addRaw(ctx, raw, "", name, rec)
}

// addRaw is add for a config as it is; want is its digest, if known.
func (s *Service) addRaw(ctx context.Context, raw []byte, want digest.Digest, name reference.Named, rec record) (digest.Digest, error) {
	if len(raw) > maxConfig {
		return "", fault.New(fault.Invalid, "the image's config takes %d bytes, more than the limit of %d", len(raw), maxConfig)
	}
	// From the blob to the record no delete or sweep may run between.
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.Parent != "" { // its layers are ours: it must still be there
		if err := s.store.View(func(tx *state.Tx) error { _, err := getRecord(tx, rec.Parent); return err }); err != nil {
			return "", err
		}
	}
	id, _, err := s.blobs.Put(ctx, newReader(raw), want, maxConfig)
	if err != nil {
		return "", err
	}
	failpoint.Hit("image.add.record")
	err = s.store.Update(func(tx *state.Tx) error {
		var names []reference.Named
		if name != nil {
			names = append(names, name)
		}
		return putRecord(tx, id, rec, names)
	})
	failpoint.Hit("image.add.recorded")
	return id, err
}

func newReader(raw []byte) io.Reader { return bytes.NewReader(raw) }
