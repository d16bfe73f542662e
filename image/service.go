// Package image owns what users call images: names in the state store, configs
// in the content store, layers in the layer store. It answers the image verbs
// of the Engine API (list, inspect, tag, delete, history, import) in Docker's
// terms, and tells the container side which layer directories make a root.
//
// An image is known by the digest of its config JSON. Names are references of
// the distribution project in full form (docker.io/library/web:1); Docker's
// short form is made only for what users see.
//
// Limits: registries are not reachable yet. Pull answers fault.NotImplemented
// for everything but the built-in image sampan/box.
package image

import (
	"log/slog"
	"sync"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/content"
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
}

// Service answers the image verbs. It is safe for concurrent use.
type Service struct {
	cfg    Config
	store  *state.Store
	events Publisher
	blobs  *content.Store
	layers *layer.Store
	log    *slog.Logger

	// InUse lists the containers made from an image. The engine sets it before
	// the first request; nil means none.
	InUse func(imageID string) []Container

	// mu orders what adds or removes images against each other, so that a
	// delete cannot take layers that an import has found to be there.
	mu     sync.RWMutex
	parsed parsedConfigs
	box    sync.Mutex
}

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

// ListOptions are the parameters of images/json. Filters holds each key's
// values: reference, dangling, label, before, since, until.
type ListOptions struct {
	All        bool
	SharedSize bool
	Filters    map[string][]string
}

// PullOptions are the parameters of images/create?fromImage=.
type PullOptions struct {
	Tag      string // tag or digest, when the reference carries none
	Platform string
}
