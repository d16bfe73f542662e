package image

import (
	"context"
	"io"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/sampan-containers/sampan/fault"
)

// IsBuiltin tells whether a name is that of the built-in image, which comes from
// the daemon's own files.
func IsBuiltin(name reference.Named) bool { return reference.FamiliarName(name) == builtinName }

// PullBuiltin answers a pull of sampan/box. Nothing is written to progress before
// success is certain.
func (s *Service) PullBuiltin(ctx context.Context, ref reference.Named, wanted string, progress io.Writer) error {
	text := reference.FamiliarString(reference.TagNameOnly(ref))
	if text != builtinName+":"+builtinTag {
		return fault.New(fault.NotFound, "pull %s: the built-in image has only the tag %s", text, builtinTag)
	}
	platform, err := parsePlatform(wanted)
	if err != nil {
		return err
	}
	if own, err := parsePlatform(""); err != nil || platform.Architecture != own.Architecture {
		return fault.New(fault.NotFound, "pull %s: the built-in image is for %s only, not %s", text, own.Architecture, platform.Architecture)
	}
	img, made, err := s.ensureBuiltin(ctx)
	if err != nil {
		return err
	}
	s.publish(events.ActionPull, img.ID, text)
	status := "Status: Image is up to date for " + text
	if made {
		status = "Status: Built-in image made: " + text
	}
	for _, m := range []jsonstream.Message{
		{ID: builtinTag, Status: "Pulling from " + builtinName},
		{Status: "Digest: " + img.ID.String()},
		{Status: status},
	} {
		if err := WriteMessage(progress, m); err != nil {
			return err
		}
	}
	return nil
}

// ParsePull reads the name of a pull or push; tag is a tag or digest, when the
// name carries none.
func ParsePull(name, tag string) (reference.Named, error) {
	if len(name)+len(tag) > maxReference {
		return nil, fault.New(fault.Invalid, "invalid reference format: %d bytes are more than the limit of %d", len(name)+len(tag), maxReference)
	}
	if tag != "" {
		separator := ":"
		if isDigest(tag) {
			separator = "@"
		}
		name += separator + tag
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s", err)
	}
	return ref, nil
}
