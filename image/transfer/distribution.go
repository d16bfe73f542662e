package transfer

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/registry/client"
)

// Login tries a login at the registry it names.
func (s *Service) Login(ctx context.Context, login auth.Credentials) (*registry.AuthResponse, error) {
	identity, err := s.Client().Login(ctx, login.ServerAddress, login)
	if err != nil {
		return nil, err
	}
	return &registry.AuthResponse{Status: "Login Succeeded", IdentityToken: identity}, nil
}

// SearchOptions are the parameters of images/search.
type SearchOptions struct {
	Term                string
	Limit, Stars        int
	Official, Automated *bool
	Login               auth.Credentials
}

// Search looks for repositories.
func (s *Service) Search(ctx context.Context, o SearchOptions) ([]registry.SearchResult, error) {
	if o.Term == "" {
		return nil, fault.New(fault.Invalid, "a search needs a term")
	}
	found, err := s.Client().Search(ctx, o.Term, o.Limit, o.Login)
	if err != nil {
		return nil, fmt.Errorf("search for %s: %w", o.Term, err)
	}
	list := []registry.SearchResult{}
	for _, f := range found {
		if f.Stars < o.Stars || o.Official != nil && *o.Official != f.Official || o.Automated != nil && *o.Automated != f.Automated {
			continue
		}
		list = append(list, registry.SearchResult{StarCount: f.Stars, IsOfficial: f.Official, Name: f.Name, Description: f.Description})
	}
	return list, nil
}

// Inspect tells what a registry has under a name without fetching it.
func (s *Service) Inspect(ctx context.Context, name string, login auth.Credentials) (*registry.DistributionInspect, error) {
	ref, err := image.ParsePull(name, "")
	if err != nil {
		return nil, err
	}
	ref = reference.TagNameOnly(ref)
	p := &puller{ref: ref}
	var failure error
	for _, src := range s.Client().Repository(ref, login).Sources() {
		desc, raw, err := src.Manifest(ctx, p.asked())
		if err == nil {
			return inspect(ctx, src, described{desc, raw})
		}
		failure = err
	}
	return nil, explain(ref, failure)
}

func inspect(ctx context.Context, src *client.Source, d described) (*registry.DistributionInspect, error) {
	answer := &registry.DistributionInspect{Descriptor: d.desc, Platforms: []ocispec.Platform{}}
	switch d.desc.MediaType {
	case ocispec.MediaTypeImageIndex, client.MediaTypeDockerList:
		var index ocispec.Index
		if err := json.Unmarshal(d.raw, &index); err != nil {
			return nil, fault.New(fault.Invalid, "index %s is not valid: %w", d.desc.Digest, err)
		}
		for _, m := range index.Manifests {
			if m.Platform != nil {
				answer.Platforms = append(answer.Platforms, *m.Platform)
			}
		}
		return answer, nil
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(d.raw, &m); err != nil {
		return nil, fault.New(fault.Invalid, "manifest %s is not valid: %w", d.desc.Digest, err)
	}
	if m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != client.MediaTypeDockerConfig {
		return answer, nil
	}
	raw, err := src.SmallBlob(ctx, m.Config, maxConfig)
	if err != nil {
		return nil, err
	}
	var platform ocispec.Platform
	if err := json.Unmarshal(raw, &platform); err != nil {
		return nil, fault.New(fault.Invalid, "the image's config is not valid: %w", err)
	}
	answer.Platforms = append(answer.Platforms, platform)
	return answer, nil
}
