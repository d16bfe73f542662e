package image

import (
	"context"
	"regexp"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// idPrefix is what can be the beginning of an image ID.
var idPrefix = regexp.MustCompile(`^(sha256:)?[0-9a-f]{1,64}$`)

// Get finds an image by name, name:tag, name@digest, ID or unique ID prefix; a
// name wins over a prefix. fault.NotFound carries Docker's text
// "No such image: X"; an ambiguous prefix is fault.Invalid.
//
// The full ID also finds an image that was deleted by force while a container
// stands on it, so that the container can still be started.
func (s *Service) Get(ctx context.Context, ref string) (*Image, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var img *Image
	err := s.store.View(func(tx *state.Tx) error {
		id, r, err := find(tx, ref)
		if err != nil {
			return err
		}
		img, err = s.assemble(tx, id, r)
		return err
	})
	return img, err
}

func find(tx *state.Tx, ref string) (digest.Digest, *record, error) {
	t, err := parseTarget(ref)
	if err != nil {
		return "", nil, err
	}
	if t.name == nil {
		if r, err := getRecord(tx, t.id); err == nil || fault.Of(err) != fault.NotFound {
			return t.id, r, err
		}
		return "", nil, notFound(t.text)
	}
	id, err := byName(tx, t.name)
	if err != nil {
		return "", nil, err
	}
	if id == "" {
		return byPrefix(tx, ref, t.text)
	}
	r, err := getRecord(tx, id)
	return id, r, err
}

// byName returns the ID a name stands for, or "". A name with tag and digest
// must match with its digest; the tag is then only a remark.
func byName(tx *state.Tx, name reference.Named) (digest.Digest, error) {
	if c, ok := name.(reference.Canonical); ok {
		trimmed, err := reference.WithDigest(reference.TrimNamed(name), c.Digest())
		if err != nil {
			return "", fault.New(fault.Invalid, "%s", err)
		}
		name = trimmed
	}
	var id digest.Digest
	_, err := tx.Get(nameBucket, name.String(), &id)
	return id, err
}

func byPrefix(tx *state.Tx, prefix, text string) (digest.Digest, *record, error) {
	if !idPrefix.MatchString(prefix) {
		return "", nil, notFound(text)
	}
	var id digest.Digest
	var found *record
	matches := 0
	err := eachRecord(tx, func(candidate digest.Digest, r *record) error {
		if !r.Orphan && isIDPrefix(candidate, prefix) {
			id, found = candidate, r
			matches++
		}
		return nil
	})
	switch {
	case err != nil:
		return "", nil, err
	case matches == 0:
		return "", nil, notFound(text)
	case matches > 1:
		return "", nil, fault.New(fault.Invalid, "image ID prefix %q is ambiguous: %d images begin with it (give more digits)", prefix, matches)
	}
	return id, found, nil
}
