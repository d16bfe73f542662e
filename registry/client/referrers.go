package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
)

// maxReferrers bounds what is listed of one manifest.
const maxReferrers = 16 << 10

// Referrers lists what refers to a manifest: signatures, attestations. It asks the
// API of OCI 1.1 and, where a registry does not know that, for the index under the
// tag that stands for it (sha256-<hex>).
func (s *Source) Referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	var all []ocispec.Descriptor
	var query url.Values
	for n := 0; n < maxPages; n++ {
		resp, err := s.askIndex(ctx, s.path()+"/referrers/"+d.String(), query)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusNotFound && n == 0 {
			drain(resp)
			return s.referrersByTag(ctx, d)
		}
		page, err := s.index(resp, d)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(all) > maxReferrers {
			return nil, fault.New(fault.Invalid, "%s lists more than %d referrers of %s", s, maxReferrers, d)
		}
		if query = nextPage(resp); query == nil {
			return all, nil
		}
	}
	return nil, fault.New(fault.Invalid, "%s lists more than %d pages", s, maxPages)
}

func (s *Source) referrersByTag(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	resp, err := s.askIndex(ctx, s.path()+"/manifests/"+strings.Replace(d.String(), ":", "-", 1), nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotFound {
		drain(resp)
		return nil, nil
	}
	return s.index(resp, d)
}

func (s *Source) askIndex(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	return s.ask(ctx, &request{method: http.MethodGet, path: path, query: query, header: http.Header{"Accept": {ocispec.MediaTypeImageIndex, MediaTypeDockerList}}, scopes: pull(s)})
}

// index reads an answer that lists manifests.
func (s *Source) index(resp *http.Response, d digest.Digest) ([]ocispec.Descriptor, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, answerError(resp)
	}
	raw, err := s.small(resp, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("read the referrers of %s: %w", d, err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fault.New(fault.Invalid, "%s answers with referrers that are not valid: %w", s, err)
	}
	return index.Manifests, nil
}
