package transfer

import (
	"context"
	"errors"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/auth"
)

// ReferrersOptions are the body of distribution/{name}/referrers.
type ReferrersOptions struct {
	Login    auth.Credentials `json:"login"`
	Insecure bool             `json:"insecure,omitempty"`
	// ArtifactType, if not empty, is the only one that is listed.
	ArtifactType string `json:"artifactType,omitempty"`
}

// Referrers is what refers to a manifest of a registry.
type Referrers struct {
	Ref       string               `json:"ref"`
	Subject   digest.Digest        `json:"subject"`
	Referrers []ocispec.Descriptor `json:"referrers"`
}

// Referrers lists signatures, attestations and what else refers to what the registry
// has under a name. An image of which nothing is known has none.
func (s *Service) Referrers(ctx context.Context, name string, o ReferrersOptions) (*Referrers, error) {
	ref, src, err := s.repository(name, ManifestOptions{Login: o.Login, Insecure: o.Insecure})
	if err != nil {
		return nil, err
	}
	asked := (&puller{ref: ref}).asked()
	desc, err := src.Resolve(ctx, asked)
	if errors.Is(err, fault.NotImplemented) {
		desc, _, err = src.Manifest(ctx, asked)
	}
	if err != nil {
		return nil, explain(ref, err)
	}
	all, err := src.Referrers(ctx, desc.Digest)
	if err != nil {
		return nil, explain(ref, err)
	}
	answer := &Referrers{Ref: reference.TrimNamed(ref).Name() + "@" + desc.Digest.String(), Subject: desc.Digest, Referrers: []ocispec.Descriptor{}}
	for _, d := range all {
		if err := checkDescriptor(d); err != nil {
			return nil, err
		}
		if o.ArtifactType == "" || d.ArtifactType == o.ArtifactType {
			answer.Referrers = append(answer.Referrers, d)
		}
	}
	return answer, nil
}
