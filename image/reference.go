package image

import (
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
)

// maxReference bounds a reference before it is parsed: a repository may have
// 255 bytes, a tag 128, a digest 135.
const maxReference = 1024

func notFound(ref string) error {
	return fault.New(fault.NotFound, "No such image: %s", ref)
}

// target is a parsed reference of a request: a name, or an image ID in full.
type target struct {
	name reference.Named // with its default tag; nil for an ID
	id   digest.Digest
	text string // as messages show it
}

func parseTarget(ref string) (*target, error) {
	if len(ref) > maxReference {
		return nil, fault.New(fault.Invalid, "invalid reference format: %d bytes are more than the limit of %d", len(ref), maxReference)
	}
	parsed, err := reference.ParseAnyReference(ref)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s", err)
	}
	if named, ok := parsed.(reference.Named); ok {
		named = reference.TagNameOnly(named)
		return &target{name: named, text: reference.FamiliarString(named)}, nil
	}
	if digested, ok := parsed.(reference.Digested); ok {
		return &target{id: digested.Digest(), text: digested.Digest().String()}, nil
	}
	return nil, fault.New(fault.Invalid, "invalid reference format: %q", ref)
}

// ParseName makes the full name that repo and tag (or a tag inside repo) give
// an image.
func ParseName(repo, tag string) (reference.Named, error) {
	if len(repo)+len(tag) > maxReference {
		return nil, fault.New(fault.Invalid, "invalid reference format: %d bytes are more than the limit of %d", len(repo)+len(tag), maxReference)
	}
	ref, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s", err)
	}
	if _, ok := ref.(reference.Digested); ok {
		return nil, fault.New(fault.Invalid, "cannot name an image by a digest: %q (use repository[:tag])", repo)
	}
	if tag != "" {
		if ref, err = reference.WithTag(reference.TrimNamed(ref), tag); err != nil {
			return nil, fault.New(fault.Invalid, "%s", err)
		}
	}
	ref = reference.TagNameOnly(ref)
	if reference.FamiliarName(ref) == digest.SHA256.String() {
		return nil, fault.New(fault.Invalid, "cannot name an image %q: it would read like a digest", reference.FamiliarString(ref))
	}
	return ref, nil
}

// isIDPrefix tells whether text is how ID begins, with or without "sha256:".
func isIDPrefix(id digest.Digest, text string) bool {
	return text != "" && (strings.HasPrefix(id.String(), text) || strings.HasPrefix(id.Encoded(), text))
}

func isDigest(text string) bool { return digest.Digest(text).Validate() == nil }
