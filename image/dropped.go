package image

import (
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/state"
)

// droppedBucket maps a diffID to the descriptors of blobs that were verified to
// unpack to it and not kept.
const droppedBucket = "dropped-blobs"

// maxDropped bounds what is remembered of one layer.
const maxDropped = 8

func putDropped(tx *state.Tx, diffID digest.Digest, blob ocispec.Descriptor) error {
	var list []ocispec.Descriptor
	if _, err := tx.Get(droppedBucket, diffID.String(), &list); err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(d ocispec.Descriptor) bool { return d.Digest == blob.Digest }) {
		return nil
	}
	kept := ocispec.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest, Size: blob.Size}
	return tx.Put(droppedBucket, diffID.String(), append(list[max(0, len(list)-maxDropped+1):], kept))
}

// DroppedBlobs returns blobs that unpack to a layer and are not here: a registry
// that the layer came from may have them.
func (s *Service) DroppedBlobs(diffID digest.Digest) (list []ocispec.Descriptor, err error) {
	err = s.store.View(func(tx *state.Tx) error {
		_, err := tx.Get(droppedBucket, diffID.String(), &list)
		return err
	})
	return list, err
}

// Origins lists the images in registries, by name@digest, that are known to contain
// a layer.
func (s *Service) Origins(diffID digest.Digest) (list []reference.Canonical, err error) {
	err = s.store.View(func(tx *state.Tx) error {
		var ids []digest.Digest
		err := eachRecord(tx, func(id digest.Digest, r *record) error {
			if slices.Contains(r.Layers, diffID) {
				ids = append(ids, id)
			}
			return nil
		})
		for _, id := range ids {
			if err != nil {
				return err
			}
			var names []reference.Named
			names, err = namesOf(tx, id)
			for _, name := range names {
				if canonical, ok := name.(reference.Canonical); ok {
					list = append(list, canonical)
				}
			}
		}
		return err
	})
	return list, err
}
