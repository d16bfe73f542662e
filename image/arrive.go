package image

import (
	"context"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/content"
	"github.com/sampan-containers/sampan/content/lease"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/layer"
	"github.com/sampan-containers/sampan/state"
)

// blobBucket maps a diffID to the descriptors of the blobs that unpack to it.
const blobBucket = "layer-blobs"

// Blobs, Layers and Leases are the stores below the service, for what brings
// images in and takes them out. Whoever writes there without a lease or a hold
// races with deletion.
func (s *Service) Blobs() *content.Store { return s.blobs }

// Layers returns the layer store.
func (s *Service) Layers() *layer.Store { return s.layers }

// Leases returns the book of leases.
func (s *Service) Leases() *lease.Book { return s.leases }

// Root returns the data root.
func (s *Service) Root() string { return s.cfg.Root }

// Publish tells of something that happened to an image; name is its name, or ID.
func (s *Service) Publish(action events.Action, id digest.Digest, name string) {
	s.publish(action, id, name)
}

// ArrivedLayer is a layer of an image that arrives: it is in the layer store, and
// if Blob names one, its compressed form is in the blob store and was verified to
// unpack to it.
type ArrivedLayer struct {
	Info *layer.Info
	Blob ocispec.Descriptor
	// Dropped says that Blob was verified and is not kept.
	Dropped bool
}

// Arrival is an image whose layers are all there, held or leased.
type Arrival struct {
	// Config is the config JSON, whose digest is ID.
	Config []byte
	ID     digest.Digest
	Layers []ArrivedLayer // bottom first
	// Manifests are the digests of the blobs that describe the image (its
	// manifest, the index it was chosen from): kept, so that it can leave with
	// the digest that it came with.
	Manifests []digest.Digest
	// Documents are such blobs that are not in the store yet.
	Documents [][]byte
	// Names are what the image gets: tags and name@digest. An image that had a
	// tag loses it.
	Names   []reference.Named
	Created time.Time
	// Lease, if there is one, ends in the same transaction.
	Lease *lease.Lease
}

// Arrive records an image: it and all its names exist together, or nothing
// changed. The config is written here.
func (s *Service) Arrive(ctx context.Context, a Arrival) (digest.Digest, error) {
	if len(a.Config) > maxConfig {
		return "", fault.New(fault.Invalid, "the image's config takes %d bytes, more than the limit of %d", len(a.Config), maxConfig)
	}
	rec := record{Created: a.Created, Manifests: a.Manifests}
	for _, l := range a.Layers {
		rec.Layers = append(rec.Layers, l.Info.DiffID)
		rec.Size += l.Info.Size
	}
	// From the blob to the record no delete or sweep may run between.
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _, err := s.blobs.Put(ctx, newReader(a.Config), a.ID, maxConfig)
	if err != nil {
		return "", err
	}
	for _, raw := range a.Documents {
		d, _, err := s.blobs.Put(ctx, newReader(raw), "", maxConfig)
		if err != nil {
			return "", err
		}
		rec.Manifests = append(rec.Manifests, d)
	}
	failpoint.Hit("image.arrive.record")
	err = s.store.Update(func(tx *state.Tx) error {
		for _, l := range a.Layers {
			if l.Dropped {
				if err := putDropped(tx, l.Info.DiffID, l.Blob); err != nil {
					return err
				}
				continue
			}
			if err := putLayerBlob(tx, l.Info.DiffID, l.Blob); err != nil {
				return err
			}
		}
		if err := putRecord(tx, id, rec, a.Names); err != nil {
			return err
		}
		if a.Lease == nil {
			return nil
		}
		return a.Lease.ReleaseIn(tx)
	})
	if err != nil {
		return "", err
	}
	failpoint.Hit("image.arrive.recorded")
	if a.Lease != nil {
		a.Lease.Done()
	}
	return id, nil
}

func putLayerBlob(tx *state.Tx, diffID digest.Digest, blob ocispec.Descriptor) error {
	if blob.Digest == "" {
		return nil
	}
	list, err := layerBlobs(tx, diffID)
	if err != nil {
		return err
	}
	for _, known := range list {
		if known.Digest == blob.Digest {
			return nil
		}
	}
	kept := ocispec.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest, Size: blob.Size}
	return tx.Put(blobBucket, diffID.String(), append(list, kept))
}

func layerBlobs(tx *state.Tx, diffID digest.Digest) (list []ocispec.Descriptor, err error) {
	_, err = tx.Get(blobBucket, diffID.String(), &list)
	return list, err
}

// LayerBlobs returns the blobs that are known to unpack to a layer, the oldest
// first. They are there as long as an image, or a lease, needs the layer.
func (s *Service) LayerBlobs(diffID digest.Digest) (list []ocispec.Descriptor, err error) {
	err = s.store.View(func(tx *state.Tx) error {
		list, err = layerBlobs(tx, diffID)
		return err
	})
	return list, err
}

// KeepLayerBlob records a blob that unpacks to a layer, made or fetched under a
// lease.
func (s *Service) KeepLayerBlob(diffID digest.Digest, blob ocispec.Descriptor) error {
	return s.store.Update(func(tx *state.Tx) error { return putLayerBlob(tx, diffID, blob) })
}
