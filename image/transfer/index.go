package transfer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/client"
)

// ManifestOptions are the body of distribution/{name}/manifest.
type ManifestOptions struct {
	Login    auth.Credentials `json:"login"`
	Insecure bool             `json:"insecure,omitempty"`
	// Put is an index to write; none reads.
	Put *Index `json:"put,omitempty"`
}

// Index is a list of images of one registry.
type Index struct {
	Entries []IndexEntry `json:"entries"`
}

// IndexEntry is one image of it, wherever in the registry it lies.
type IndexEntry struct {
	Name       string             `json:"name"` // repository@digest or repository:tag
	Descriptor ocispec.Descriptor `json:"descriptor"`
}

// Manifest is one document of a registry, with its bytes.
type Manifest struct {
	Ref        string             `json:"ref"`
	Descriptor ocispec.Descriptor `json:"descriptor"` // with the platform, for an image
	Raw        []byte             `json:"raw,omitempty"`
}

func (s *Service) repository(name string, o ManifestOptions) (reference.Named, *client.Source, error) {
	ref, err := image.ParsePull(name, "")
	if err != nil {
		return nil, nil, err
	}
	repo := s.Client().Repository(ref, o.Login)
	if o.Insecure {
		repo = repo.Insecure()
	}
	return reference.TagNameOnly(ref), repo.Origin(), nil
}

// Manifest reads a manifest or index from the registry itself.
func (s *Service) Manifest(ctx context.Context, name string, o ManifestOptions) (*Manifest, error) {
	ref, src, err := s.repository(name, o)
	if err != nil {
		return nil, err
	}
	desc, raw, err := src.Manifest(ctx, (&puller{ref: ref}).asked())
	if err != nil {
		return nil, explain(ref, err)
	}
	about, err := inspect(ctx, src, described{desc, raw})
	if err != nil {
		return nil, explain(ref, err)
	}
	answer := &Manifest{Ref: ref.String(), Descriptor: desc, Raw: raw}
	if isImage(desc.MediaType) && len(about.Platforms) == 1 {
		answer.Descriptor.Platform = &about.Platforms[0]
	}
	return answer, nil
}

func isImage(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageManifest || mediaType == client.MediaTypeDockerManifest
}

// PutIndex writes an index: of Docker's type if all its images are, else of OCI's.
// Images of other repositories of the registry are taken over first.
func (s *Service) PutIndex(ctx context.Context, name string, o ManifestOptions) (*Manifest, error) {
	ref, to, err := s.repository(name, o)
	if err != nil {
		return nil, err
	}
	tagged, ok := ref.(reference.Tagged)
	if !ok {
		return nil, fault.New(fault.Invalid, "an index needs a tag, not a digest: %s", name)
	}
	if n := len(o.Put.Entries); n == 0 || n > maxEntries {
		return nil, fault.New(fault.Invalid, "an index has 1 to %d images, not %d", maxEntries, n)
	}
	index := ocispec.Index{MediaType: client.MediaTypeDockerList}
	index.SchemaVersion = 2
	for _, e := range o.Put.Entries {
		if err := checkDescriptor(e.Descriptor); err != nil {
			return nil, err
		}
		if e.Descriptor.MediaType != client.MediaTypeDockerManifest {
			index.MediaType = ocispec.MediaTypeImageIndex
		}
		if err := s.takeOver(ctx, ref, to, e, o); err != nil {
			return nil, fmt.Errorf("push %s: %s: %w", reference.FamiliarString(ref), e.Name, noPrompt(err))
		}
		index.Manifests = append(index.Manifests, e.Descriptor)
	}
	raw, err := json.MarshalIndent(index, "", "   ")
	if err != nil {
		return nil, err
	}
	if err := to.PutManifest(ctx, tagged.Tag(), index.MediaType, raw); err != nil {
		return nil, fmt.Errorf("push %s: %w", reference.FamiliarString(ref), noPrompt(err))
	}
	return &Manifest{Ref: ref.String(), Descriptor: ocispec.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}}, nil
}

// takeOver brings an image into the repository of an index.
func (s *Service) takeOver(ctx context.Context, ref reference.Named, to *client.Source, e IndexEntry, o ManifestOptions) error {
	from, src, err := s.repository(e.Name, o)
	if err != nil {
		return err
	}
	if reference.Domain(from) != reference.Domain(ref) {
		return fault.New(fault.Invalid, "it is in another registry than the index: push it to %s first", reference.Domain(ref))
	}
	if reference.Path(from) == reference.Path(ref) {
		return nil
	}
	desc, raw, err := src.Manifest(ctx, e.Descriptor.Digest.String())
	if err != nil {
		return err
	}
	m, err := parseManifest(described{desc, raw})
	if err != nil {
		return err
	}
	for _, blob := range append(m.Layers, m.Config) {
		there, err := to.HasBlob(ctx, blob, true)
		if err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		if mounted, err := to.Mount(ctx, blob, reference.Path(from)); err == nil && mounted {
			continue
		}
		err = to.Upload(ctx, blob, func(offset int64) (io.ReadCloser, error) { return src.Blob(ctx, blob, offset, nil) }, nil)
		if err != nil {
			return err
		}
	}
	return to.PutManifest(ctx, desc.Digest.String(), desc.MediaType, raw)
}
