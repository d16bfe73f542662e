// Package transfer brings images in from registries and takes them out.
//
// A pull reads a manifest, fetches the layers side by side and unpacks each from
// its stream while it arrives: the compressed bytes are hashed and kept, the plain
// ones are hashed and extracted. When all layers are verified they become durable
// with one syncfs, then visible, and last the image and its names are recorded in
// one transaction; so a failure leaves the old tag as it was. The beginnings of
// blobs stay, and the next pull goes on from there.
//
// Pulls that need the same layer at the same time share one download.
//
// A push sends the manifest and the compressed layers that a pull brought, byte
// for byte. Layers that were made here are compressed once and then kept, too. With
// Config.DropBlobs nothing of that is kept, and a push passes the layers on from
// where they came.
package transfer

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/layer/reuse"
	"github.com/sampan-containers/sampan/registry/client"
)

const (
	kib = 1 << 10

	// DefaultDownloads and DefaultUploads are Docker's.
	DefaultDownloads = 3
	DefaultUploads   = 5
	// Of blobs that fit in the memory of a fetch, smallAtOnce times as many are on
	// their way: they are a matter of round trips, not of bandwidth. Who allows one
	// download at a time gets one.
	smallBlob   = fetchBlocks * fetchBlock
	smallAtOnce = 4
	// leastUnpacked is how many layers unpack beside each other on few cores: while
	// one waits for the network or the disk, another goes on.
	leastUnpacked = 3

	maxConfig = 4 << 20
	maxLayers = 500
	// maxIndexDepth and maxEntries bound indexes: real ones have one level and
	// some tens of entries.
	maxIndexDepth = 3
	maxEntries    = 4 << 10
)

// Config says how much a Service does at once.
type Config struct {
	Downloads, Uploads int // blobs at once, over all pulls and pushes
	// DropBlobs has a pull keep no compressed layers.
	DropBlobs bool
	Log       *slog.Logger
}

// Service is safe for concurrent use.
type Service struct {
	images    *image.Service
	way       atomic.Pointer[way]
	log       *slog.Logger
	dropBlobs bool
	unpacks   chan struct{}
	aheads    reuse.Pool[ahead]

	// running are the pulls and pushes; closing ends them.
	running sync.WaitGroup
	closing context.Context
	end     context.CancelFunc

	mu      sync.Mutex
	flights map[digest.Digest]*flight // by diffID
	// publishing is held while layers become visible: of two pulls that share
	// one, the second finds it there.
	publishing sync.Mutex
}

// New makes a Service.
func New(cfg Config, images *image.Service, c *client.Client) *Service {
	if cfg.Downloads <= 0 {
		cfg.Downloads = DefaultDownloads
	}
	if cfg.Uploads <= 0 {
		cfg.Uploads = DefaultUploads
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	closing, end := context.WithCancel(context.Background())
	s := &Service{
		closing: closing, end: end,
		images: images, log: cfg.Log, dropBlobs: cfg.DropBlobs, flights: map[digest.Digest]*flight{},
		unpacks: make(chan struct{}, max(leastUnpacked, runtime.GOMAXPROCS(0))),
	}
	s.Change(cfg.Downloads, cfg.Uploads, c)
	return s
}

// way is how blobs travel: by which client, and how many at once.
type way struct {
	client                    *client.Client
	downloads, small, uploads chan struct{} // small are downloads of small blobs
}

// Change gives pulls and pushes another client and other bounds; those under way go on
// with what they have.
func (s *Service) Change(downloads, uploads int, c *client.Client) {
	small := downloads
	if small > 1 {
		small *= smallAtOnce
	}
	old := s.way.Swap(&way{client: c, downloads: make(chan struct{}, downloads), small: make(chan struct{}, small), uploads: make(chan struct{}, uploads)})
	if old != nil {
		old.client.Close()
	}
}

// Client is the registry client.
func (s *Service) Client() *client.Client { return s.way.Load().client }

// Close cuts pulls and pushes off and returns when they have cleaned up: then the
// stores below may be closed.
func (s *Service) Close() {
	s.end()
	s.running.Wait()
	s.Client().Close()
}

// begin counts a pull or push, whose context ends with the Service too.
func (s *Service) begin(ctx context.Context) (_ context.Context, done func()) {
	s.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
		s.running.Done()
	}
}

// take waits for a slot.
func take(ctx context.Context, slots chan struct{}) (free func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cut is Docker's short form of a digest.
func cut(d digest.Digest) string {
	const digits = 12
	if hex := d.Encoded(); len(hex) > digits {
		return hex[:digits]
	}
	return d.Encoded()
}
