package image

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// Family lists an image and the images that were made here from it, at any distance.
// An image that does not exist has none.
func (s *Service) Family(ctx context.Context, ref string) ([]digest.Digest, error) {
	img, err := s.Get(ctx, ref)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	children := map[digest.Digest][]digest.Digest{}
	err = s.store.View(func(tx *state.Tx) error {
		return eachRecord(tx, func(id digest.Digest, r *record) error {
			if r.Parent != "" {
				children[r.Parent] = append(children[r.Parent], id)
			}
			return nil
		})
	})
	seen := map[digest.Digest]bool{img.ID: true} // a damaged store may have a loop
	for todo := []digest.Digest{img.ID}; len(todo) > 0; todo = todo[1:] {
		for _, id := range children[todo[0]] {
			if !seen[id] {
				seen[id] = true
				todo = append(todo, id)
			}
		}
	}
	return slices.Sorted(maps.Keys(seen)), err
}
