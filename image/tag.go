package image

import (
	"context"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/state"
)

// Tag gives the image that ref names a further name, repo[:tag], taking the
// name from whichever image had it.
func (s *Service) Tag(ctx context.Context, ref, repo, tag string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name, err := ParseName(repo, tag)
	if err != nil {
		return err
	}
	var id digest.Digest
	err = s.store.Update(func(tx *state.Tx) error {
		var r *record
		if id, r, err = find(tx, ref); err != nil {
			return err
		}
		r.Tagged = time.Now().UTC()
		if err := tx.Put(imageBucket, id.String(), r); err != nil {
			return err
		}
		return tx.Put(nameBucket, name.String(), id)
	})
	if err != nil {
		return err
	}
	s.publish(events.ActionTag, id, reference.FamiliarString(name))
	return nil
}
