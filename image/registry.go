package image

import (
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/state"
)

// ParsePlatform reads os[/arch[/variant]], or an architecture alone. Missing parts
// are this machine's.
func ParsePlatform(text string) (ocispec.Platform, error) { return parsePlatform(text) }

// Unhold ends one hold of each layer and blob, and removes what nothing needs by then.
func (s *Service) Unhold(layers, blobs []digest.Digest) {
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

// Left records that an image is in a registry as name@digest, described by the
// blob manifest.
func (s *Service) Left(id digest.Digest, name reference.Canonical, manifest digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.Update(func(tx *state.Tx) error {
		r, err := getRecord(tx, id)
		if err != nil {
			return err
		}
		known := false
		for _, d := range r.Manifests {
			known = known || d == manifest
		}
		if !known {
			r.Manifests = append([]digest.Digest{manifest}, r.Manifests...)
		}
		if err := tx.Put(imageBucket, id.String(), r); err != nil {
			return err
		}
		return tx.Put(nameBucket, name.String(), id)
	})
}

// NamedBy returns the image that a full name stands for, or fault.NotFound.
func (s *Service) NamedBy(name reference.Named) (img *Image, err error) {
	err = s.store.View(func(tx *state.Tx) error {
		id, err := byName(tx, name)
		if err != nil {
			return err
		}
		if id == "" {
			return notFound(reference.FamiliarString(name))
		}
		r, err := getRecord(tx, id)
		if err != nil {
			return err
		}
		img, err = s.assemble(tx, id, r)
		return err
	})
	return img, err
}

// Repositories lists the repositories of a registry that are known, by an image's
// name@digest, to hold a layer.
func (s *Service) Repositories(domain string, diffID digest.Digest) (list []string, err error) {
	err = s.store.View(func(tx *state.Tx) error {
		has := map[digest.Digest]bool{}
		err := eachRecord(tx, func(id digest.Digest, r *record) error {
			for _, l := range r.Layers {
				has[id] = has[id] || l == diffID
			}
			return nil
		})
		if err != nil {
			return err
		}
		for id, yes := range has {
			if !yes {
				continue
			}
			names, err := namesOf(tx, id)
			if err != nil {
				return err
			}
			for _, name := range names {
				if _, digested := name.(reference.Canonical); digested && reference.Domain(name) == domain {
					list = append(list, reference.Path(name))
				}
			}
		}
		return nil
	})
	return list, err
}
