package image

import (
	"encoding/json"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/state"
)

// Kinds of Damage.
const (
	Blob  = "blob"
	Layer = "layer"
)

// Damage is a blob or a layer that is not what its name says, or missing.
type Damage struct {
	Kind   string        // Blob or Layer
	Digest digest.Digest // of the blob, or the layer's diffID
	Images []string      // that need it, by name or ID
	Reason string
	// Repaired tells that it was made whole again.
	Repaired bool
}

// Needs is what the images need, each with the images' names, or IDs of those
// without.
type Needs struct{ Blobs, Layers map[digest.Digest][]string }

// Needs lists it, also for images that are damaged.
func (s *Service) Needs() (*Needs, error) {
	n := &Needs{map[digest.Digest][]string{}, map[digest.Digest][]string{}}
	err := s.store.View(func(tx *state.Tx) error {
		return eachRecord(tx, func(id digest.Digest, r *record) error {
			refs, err := namesOf(tx, id)
			if err != nil {
				return err
			}
			names, digests := split(refs)
			if names = append(names, digests...); len(names) == 0 {
				names = []string{id.String()}
			}
			for _, d := range append([]digest.Digest{id}, r.Manifests...) {
				n.Blobs[d] = append(n.Blobs[d], names...)
			}
			for _, l := range r.Layers {
				n.Layers[l] = append(n.Layers[l], names...)
				list, err := layerBlobs(tx, l)
				if err != nil {
					return err
				}
				for _, b := range list {
					n.Blobs[b.Digest] = append(n.Blobs[b.Digest], names...)
				}
			}
			return nil
		})
	})
	return n, err
}

// Origin is what is recorded of where an image can be had again.
type Origin struct {
	ID        digest.Digest
	Names     []reference.Canonical // in registries
	Manifests []digest.Digest
	Layers    []digest.Digest // diffIDs, bottom first
}

// OriginOf finds an image as Get does; its config may be damaged.
func (s *Service) OriginOf(ref string) (o Origin, err error) {
	err = s.store.View(func(tx *state.Tx) error {
		id, r, err := find(tx, ref)
		if err != nil {
			return err
		}
		o = Origin{ID: id, Manifests: r.Manifests, Layers: r.Layers}
		refs, err := namesOf(tx, id)
		for _, ref := range refs {
			if name, ok := ref.(reference.Canonical); ok {
				o.Names = append(o.Names, name)
			}
		}
		return err
	})
	return o, err
}

// UsersOf lists the containers of an image, which is found as by OriginOf.
func (s *Service) UsersOf(ref string) ([]Container, error) {
	o, err := s.OriginOf(ref)
	if err != nil {
		return nil, err
	}
	return s.users(o.ID), nil
}

// ForgetBlob drops a blob that is a second form of something: the compressed form of
// a layer, which the layer's files replace, or the manifest that an image came with.
// An image without them is whole; it leaves with other digests than it came with.
func (s *Service) ForgetBlob(d digest.Digest) (found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.store.Update(func(tx *state.Tx) error {
		change := map[string][]ocispec.Descriptor{}
		err := tx.Each(blobBucket, func(key string, raw []byte) error {
			var list []ocispec.Descriptor
			if err := json.Unmarshal(raw, &list); err != nil {
				return err
			}
			kept := slices.DeleteFunc(slices.Clone(list), func(b ocispec.Descriptor) bool { return b.Digest == d })
			if len(kept) < len(list) {
				change[key] = kept
			}
			return nil
		})
		if err != nil {
			return err
		}
		for key, list := range change {
			found = true
			if err := tx.Put(blobBucket, key, list); err != nil {
				return err
			}
		}
		images := map[digest.Digest]*record{}
		err = eachRecord(tx, func(id digest.Digest, r *record) error {
			if slices.Contains(r.Manifests, d) {
				r.Manifests = slices.DeleteFunc(r.Manifests, func(m digest.Digest) bool { return m == d })
				images[id] = r
			}
			return nil
		})
		if err != nil {
			return err
		}
		for id, r := range images {
			found = true
			if err := tx.Put(imageBucket, id.String(), r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !found {
		return false, err
	}
	return true, s.blobs.Delete(d)
}
