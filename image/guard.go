package image

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/state"
)

// Guard keeps layers and blobs that are there from deletion until release, which
// deletes those that nothing needs by then.
func (s *Service) Guard(layers, blobs []digest.Digest) (release func()) {
	var heldLayers, heldBlobs []digest.Digest
	for _, id := range layers {
		if s.layers.Hold(id) {
			heldLayers = append(heldLayers, id)
		}
	}
	for _, d := range blobs {
		if s.blobs.Hold(d) {
			heldBlobs = append(heldBlobs, d)
		}
	}
	return func() { s.Unguard(heldLayers, heldBlobs) }
}

// Unguard ends holds of layers and blobs, one each, and deletes what nothing needs.
func (s *Service) Unguard(layers, blobs []digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range layers {
		s.layers.Release(id)
	}
	for _, d := range blobs {
		s.blobs.Release(d)
	}
	var u *used
	err := s.store.View(func(tx *state.Tx) (err error) { u, err = s.inUse(tx); return err })
	if err == nil {
		err = s.dropLayers(layers, u)
	}
	for _, d := range blobs {
		if err == nil && !u.blobs[d] {
			err = s.blobs.Delete(d)
		}
	}
	if err != nil {
		s.log.Warn("what no image needs stays until the next start", "layers", layers, "blobs", blobs, "error", err)
	}
}

// release ends the hold of an unpacked layer.
func (s *Service) release(id digest.Digest) { s.Unguard([]digest.Digest{id}, nil) }

// DiffIDOf returns the layer that a blob is known to unpack to.
func (s *Service) DiffIDOf(blob digest.Digest) (diffID digest.Digest, found bool) {
	// A store that cannot be read knows nothing; the blob is unpacked again.
	_ = s.store.View(func(tx *state.Tx) error {
		return tx.Each(blobBucket, func(key string, raw []byte) error {
			var list []ocispec.Descriptor
			if err := json.Unmarshal(raw, &list); err != nil {
				return err
			}
			for _, b := range list {
				if b.Digest == blob {
					diffID, found = digest.Digest(key), true
				}
			}
			return nil
		})
	})
	return diffID, found
}
