// Package image owns what users call images: names in the state store, configs
// in the content store, layers in the layer store. It answers the image verbs
// of the Engine API (list, inspect, tag, delete, history, import) in Docker's
// terms, and tells the container side which layer directories make a root.
//
// An image is known by the digest of its config JSON. Names are references of
// the distribution project in full form (docker.io/library/web:1); Docker's
// short form is made only for what users see.
//
// Order of anything durable: layers and config are synced and renamed first,
// then one transaction of the state store makes the image and its name exist.
// Deleting goes the other way round. What a crash leaves between the two has no
// record, and New removes it.
//
// Archives of images are package archive's, registries package transfer's; both
// bring images in by Arrive.
package image

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/content"
	"github.com/sampan-containers/sampan/content/lease"
	"github.com/sampan-containers/sampan/layer"
	"github.com/sampan-containers/sampan/state"
)

// Publisher takes the events of images; *event.Bus is one.
type Publisher interface{ Publish(events.Message) }

// Container is a container that was made from an image.
type Container struct {
	ID      string
	Running bool
}

// Config says where a Service keeps things and whom it asks.
type Config struct {
	// Root is the data root; blobs/, layers/ and trash/ are made below it.
	Root string
	// BoxBinary is the sampan-box that becomes the image sampan/box. Empty
	// means the file sampan-box beside the running executable.
	BoxBinary string
	// Log gets what no caller can be told. Nil means slog.Default().
	Log *slog.Logger
}

// Image is one image. Its fields are the caller's to read, not to change:
// Config is shared.
type Image struct {
	// ID is the digest of the config JSON.
	ID digest.Digest
	// Config is the parsed config JSON.
	Config *dockerspec.DockerOCIImage
	// RepoTags and RepoDigests are the image's names in short form, sorted.
	RepoTags, RepoDigests []string
	// Size is the sum of the regular files' sizes over all layers.
	Size int64
	// Created is the zero time when the config does not say.
	Created time.Time
	// Parent is set for an image that was made here from another one.
	Parent digest.Digest

	record record
}

// Service answers the image verbs. It is safe for concurrent use.
type Service struct {
	cfg    Config
	store  *state.Store
	events Publisher
	blobs  *content.Store
	layers *layer.Store
	leases *lease.Book
	log    *slog.Logger

	// InUse lists the containers made from an image. The engine sets it before
	// the first request; nil means none. It is called while an image is being
	// deleted and must not wait for anything that waits for this service.
	InUse func(imageID string) []Container
	// LayersGone, if set, is called when layers were removed.
	LayersGone func()

	// mu makes "is it still used" and "take it away" one step, and guards waiting.
	mu      sync.Mutex
	waiting bool // awaitRelease runs
	closed  chan struct{}
	closing sync.Once
	configs configCache
	builtin sync.Mutex
}

// New opens the stores below cfg.Root and removes what a crash left there.
func New(cfg Config, store *state.Store, bus Publisher) (*Service, error) {
	s := &Service{cfg: cfg, store: store, events: bus, log: cfg.Log, closed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	for _, unfinished := range []string{"load-*", "save-*"} {
		// The pattern is well formed.
		left, _ := filepath.Glob(filepath.Join(cfg.Root, unfinished))
		for _, dir := range left {
			if err := os.RemoveAll(dir); err != nil {
				return nil, fmt.Errorf("remove an unfinished archive: %w", err)
			}
		}
	}
	var err error
	s.leases = lease.Open(store)
	if s.blobs, err = content.Open(cfg.Root); err != nil {
		return nil, err
	}
	if s.layers, err = layer.Open(cfg.Root, s.log); err != nil {
		return nil, err
	}
	if err := s.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("remove what no image needs: %w", err), s.layers.Close())
	}
	return s, nil
}

// Close waits until the background removal has stopped at a safe point.
func (s *Service) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return s.layers.Close()
}

// Wait returns when the files of all removed layers are gone.
func (s *Service) Wait() { s.layers.Wait() }

// Count returns the number of images, for /info; a store that cannot be read
// counts as empty there and fails by name everywhere else.
func (s *Service) Count() int {
	n := 0
	_ = s.store.View(func(tx *state.Tx) error {
		return eachRecord(tx, func(_ digest.Digest, r *record) error {
			if !r.Orphan {
				n++
			}
			return nil
		})
	})
	return n
}

// Lowers returns the image's layer directories, top first, as overlay wants
// them. There may be one directory more than the image has layers: it mends the
// parents that a layer's tar implies but does not list.
func (s *Service) Lowers(img *Image) ([]string, error) {
	dirs, err := s.layers.Chain(img.Config.RootFS.DiffIDs)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", short(img.ID), err)
	}
	return dirs, nil
}

func (s *Service) publish(action events.Action, id digest.Digest, name string) {
	attributes := map[string]string{}
	if cfg, err := s.config(id); err == nil {
		for k, v := range cfg.Config.Labels {
			attributes[k] = v
		}
	}
	attributes["name"] = name
	s.events.Publish(events.Message{
		Type: events.ImageEventType, Action: action,
		Actor: events.Actor{ID: id.String(), Attributes: attributes},
	})
}

// short is the form of an ID in messages: 12 digits, as Docker shows.
func short(id digest.Digest) string {
	const digits = 12
	if hex := id.Encoded(); len(hex) > digits {
		return hex[:digits]
	}
	return id.Encoded()
}
