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
	return func() { s.Unhold(heldLayers, heldBlobs) }
}

// release ends the hold of an unpacked layer.
func (s *Service) release(id digest.Digest) { s.Unhold([]digest.Digest{id}, nil) }

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
