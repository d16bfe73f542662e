package image

import (
	"context"
	"io"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/sampan-containers/sampan/fault"
)

// PullOptions are the parameters of images/create?fromImage=.
type PullOptions struct {
	Tag      string // tag or digest, when the reference carries none
	Platform string
}

// Pull answers images/create?fromImage=. It knows only sampan/box yet;
// everything else is fault.NotImplemented. Nothing is written to progress
// before success is certain.
func (s *Service) Pull(ctx context.Context, name string, o PullOptions, progress io.Writer) error {
	ref, err := parsePull(name, o.Tag)
	if err != nil {
		return err
	}
	text := reference.FamiliarString(ref)
	if reference.FamiliarName(ref) != builtinName {
		return fault.New(fault.NotImplemented, "pull %s: Sampan cannot reach registries yet; import a root file system instead (tar -c . | sampan import - %s), or run the built-in image %s", text, text, builtinName)
	}
	if text != builtinName+":"+builtinTag {
		return fault.New(fault.NotFound, "pull %s: the built-in image has only the tag %s", text, builtinTag)
	}
	platform, err := parsePlatform(o.Platform)
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

func parsePull(name, tag string) (reference.Named, error) {
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
	return reference.TagNameOnly(ref), nil
}
