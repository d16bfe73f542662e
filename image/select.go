package image

import (
	"context"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// Layers returns the image's diffIDs, bottom first.
func (i *Image) Layers() []digest.Digest { return i.record.Layers }

// Manifests returns the digests of the blobs that describe the image where it
// came from.
func (i *Image) Manifests() []digest.Digest { return i.record.Manifests }

// Is tells whether the image is for a platform; what p leaves empty is any.
func (i *Image) Is(p ocispec.Platform) bool { return Matches(i.Config.Platform, p) }

// Matches tells whether have is what want asks for; what want leaves empty is any.
func Matches(have, want ocispec.Platform) bool {
	return (want.OS == "" || want.OS == have.OS) && (want.Architecture == "" || want.Architecture == have.Architecture) &&
		(want.Variant == "" || want.Variant == have.Variant)
}

// Selected is an image with those of its tags, in short form, that were asked for.
type Selected struct {
	Image *Image
	Tags  []string
}

// Select finds images by name or ID, each once. A name without a tag stands for
// all tags of its repository.
func (s *Service) Select(ctx context.Context, names []string, platforms []ocispec.Platform) ([]*Selected, error) {
	var list []*Selected
	add := func(img *Image, tags ...string) error {
		if len(platforms) > 0 && !slices.ContainsFunc(platforms, img.Is) {
			return fault.New(fault.NotFound, "image %s is for %s/%s, not for the platform that was asked for", short(img.ID), img.Config.OS, img.Config.Architecture)
		}
		i := slices.IndexFunc(list, func(one *Selected) bool { return one.Image.ID == img.ID })
		if i < 0 {
			list = append(list, &Selected{Image: img})
			i = len(list) - 1
		}
		for _, tag := range tags {
			if !slices.Contains(list[i].Tags, tag) {
				list[i].Tags = append(list[i].Tags, tag)
			}
		}
		return nil
	}
	for _, name := range names {
		repository, err := s.Repository(name)
		if err != nil {
			return nil, err
		}
		for _, tag := range repository {
			img, err := s.Get(ctx, tag)
			if err == nil {
				err = add(img, tag)
			}
			if err != nil {
				return nil, err
			}
		}
		if len(repository) > 0 {
			continue
		}
		img, err := s.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		var tags []string
		if t, err := parseTarget(name); err == nil && t.name != nil && slices.Contains(img.RepoTags, t.text) {
			tags = []string{t.text}
		}
		if err := add(img, tags...); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Repository lists the tags, in short form, of a name that has no tag itself;
// none for any other name.
func (s *Service) Repository(name string) ([]string, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil || !reference.IsNameOnly(ref) {
		return nil, nil // an ID, or Get says what is wrong
	}
	var tags []string
	err = s.store.View(func(tx *state.Tx) error {
		return tx.Each(nameBucket, func(key string, _ []byte) error {
			known, err := reference.ParseNamed(key)
			if err != nil {
				return nil
			}
			if _, digested := known.(reference.Digested); !digested && known.Name() == ref.Name() {
				tags = append(tags, reference.FamiliarString(known))
			}
			return nil
		})
	})
	return tags, err
}
