package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/content"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/layer"
	"github.com/sampan-containers/sampan/registry/client"
)

// flight is one layer on its way, for all pulls that wait for it. When it has
// landed its layer is staged and its blob finished; whichever of the pulls is
// complete first makes them visible.
type flight struct {
	s       *Service
	diffID  digest.Digest
	blob    ocispec.Descriptor
	part    *part
	cancel  context.CancelFunc
	landed  chan struct{} // closed: the fields below are valid
	err     error
	staged  *layer.Staged
	writer  *content.Writer // nil when the blob was in the store, or was dropped
	dropped bool

	users     int  // guarded by Service.mu
	published bool // guarded by Service.publishing
}

// join returns the flight of a layer and begins it if nobody has. leave must
// follow.
func (s *Service) join(diffID digest.Digest, blob ocispec.Descriptor, p *part, sources []*client.Source) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[diffID]; f != nil {
		f.users++
		return f
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &flight{s: s, diffID: diffID, blob: blob, part: p, cancel: cancel, landed: make(chan struct{}), users: 1}
	s.flights[diffID] = f
	go func() {
		defer close(f.landed)
		if f.err = f.fly(ctx, sources); f.err != nil {
			s.mu.Lock()
			f.forget() // the next pull tries anew
			s.mu.Unlock()
		}
	}()
	return f
}

// forget takes a flight off the list; the caller holds Service.mu.
func (f *flight) forget() {
	if f.s.flights[f.diffID] == f {
		delete(f.s.flights, f.diffID)
	}
}

// leave gives up a pull's interest. The last one cleans up: what was not made
// visible is discarded, but for the bytes of the blob. What is returned is held no
// more, and to be given to Unhold.
func (f *flight) leave() (layers, blobs []digest.Digest) {
	f.s.mu.Lock()
	f.users--
	last := f.users == 0
	if last {
		f.forget()
	}
	f.s.mu.Unlock()
	if !last {
		return nil, nil
	}
	f.cancel()
	<-f.landed
	if f.published {
		layers = append(layers, f.diffID)
		if f.writer != nil {
			blobs = append(blobs, f.blob.Digest)
		}
	}
	if f.staged != nil {
		f.staged.Discard()
	}
	if f.writer != nil {
		_ = f.writer.Close()
	}
	return layers, blobs
}

// fly brings the layer: from the blob store if its blob is there, else from the
// first source that gives it.
func (f *flight) fly(ctx context.Context, sources []*client.Source) error {
	f.part.enter(waiting)
	way := f.s.way.Load()
	slots := way.downloads
	if f.blob.Size <= smallBlob {
		slots = way.small
	}
	free, err := take(ctx, slots)
	if err != nil {
		return err
	}
	defer free()
	if f.s.images.Blobs().Has(f.blob.Digest) {
		staged, err := f.unpackStored(ctx)
		if err == nil {
			f.staged = staged
			return nil
		}
		if !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.NotFound) {
			return err
		}
		// The blob on disk is damaged, or another layer's: fetch it.
	}
	w, err := f.s.images.Blobs().Begin(ctx, f.blob.Digest, f.blob.Size)
	if err != nil {
		return err
	}
	for i := 0; i < len(sources); i++ {
		kept := w.Offset() > 0
		if f.staged, err = f.attempt(ctx, w, sources[i]); err == nil {
			f.writer = w
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, fault.Exhausted) {
			break
		}
		if kept && errors.Is(err, fault.Invalid) {
			// What an earlier pull left may be wrong: once more from the start.
			if err = w.Reset(); err != nil {
				break
			}
			if f.staged, err = f.attempt(ctx, w, sources[i]); err == nil {
				f.writer = w
				return nil
			}
		}
	}
	return errors.Join(err, w.Close())
}

func (f *flight) unpackStored(ctx context.Context) (*layer.Staged, error) {
	file, err := f.s.images.Blobs().Open(f.blob.Digest)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return f.unpack(ctx, file, extracting)
}

// unpack stages the layer that r gives when its turn comes.
func (f *flight) unpack(ctx context.Context, r io.Reader, phase int32) (*layer.Staged, error) {
	free, err := take(ctx, f.s.unpacks)
	if err != nil {
		return nil, err
	}
	defer free()
	f.part.enter(phase)
	return f.s.images.Layers().Stage(ctx, r, f.diffID)
}

// attempt downloads and unpacks from one source. The blob's own mismatch is told
// before what it did to the unpacking.
func (f *flight) attempt(ctx context.Context, w *content.Writer, from *client.Source) (_ *layer.Staged, retErr error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.part.enter(moving)
	body, err := from.Blob(ctx, f.blob, w.Offset(), func(err error) { f.part.say("Retrying: " + err.Error()) })
	if err != nil {
		return nil, err
	}
	defer body.Close()
	memory := f.s.aheads.Get()
	defer func() {
		if retErr != nil {
			memory = nil // the unpacking may still read from it
		}
		f.s.aheads.Put(memory)
	}()
	download := startFetch(ctx, w, body, f.part, memory)
	staged, err := f.unpack(ctx, download, moving)
	if err != nil && !errors.Is(err, fault.Invalid) {
		cancel() // no matter of the bytes
	}
	fetchErr := download.finish()
	defer func() {
		if retErr != nil && staged != nil {
			staged.Discard()
		}
	}()
	if err != nil && !errors.Is(err, fault.Invalid) {
		return nil, err
	}
	if fetchErr != nil {
		return staged, fmt.Errorf("layer %s: %w", cut(f.blob.Digest), fetchErr)
	}
	f.part.enter(verifying)
	if err := w.Finish(); err != nil {
		return staged, fmt.Errorf("layer verification failed: %w", err)
	}
	f.part.enter(moved)
	if err != nil {
		return nil, errors.Join(err, w.Reset())
	}
	f.part.enter(extracting)
	return staged, nil
}

// wait returns when the flight has landed or the pull ends.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.landed:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish makes the layers and blobs of landed flights, and the documents of their
// image, durable together, then visible. Each flight holds its own until its last
// user leaves it.
func (s *Service) publish(flights []*flight, documents []*content.Writer) error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	var staged []*layer.Staged
	var writers []*content.Writer
	var fresh []*flight
	for _, f := range flights {
		if f.published {
			continue
		}
		fresh = append(fresh, f)
		staged = append(staged, f.staged)
		if f.writer != nil && s.dropBlobs {
			// Before the sync, so that little of it has gone to the disk.
			if err := f.writer.Abandon(); err != nil {
				return err
			}
			f.writer, f.dropped = nil, true
		}
		if f.writer != nil {
			writers = append(writers, f.writer)
		}
	}
	if err := s.publishBoth(staged, append(writers, documents...)); err != nil {
		return err
	}
	for _, f := range fresh {
		f.published = true
	}
	return nil
}

// publishBoth publishes layers and blobs with one sync, if one reaches both.
func (s *Service) publishBoth(staged []*layer.Staged, writers []*content.Writer) error {
	blobs, layers := s.images.Blobs(), s.images.Layers()
	shown := false
	sync := func() error {
		err := layers.Publish(staged...)
		shown = err == nil
		return err
	}
	here, err := layers.Device()
	if err != nil {
		return err
	}
	there, err := blobs.Device()
	if err != nil {
		return err
	}
	if here == there && len(staged) > 0 {
		err = blobs.PublishAfter(sync, writers...)
	} else if err = sync(); err == nil {
		err = blobs.Publish(writers...)
	}
	if err != nil && shown {
		var ids []digest.Digest
		for _, st := range staged {
			ids = append(ids, st.Info.DiffID)
		}
		s.images.Unhold(ids, nil)
	}
	return err
}
