package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/registry/auth"
)

// Media types of Docker's schema 2, and of schema 1, which is refused.
const (
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	MediaTypeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	MediaTypeDockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	schema1Prefix           = "application/vnd.docker.distribution.manifest.v1+"
)

const (
	// MaxManifest is what the distribution specification asks registries to take.
	MaxManifest = 4 * mib
	maxTags     = 64 << 10
	tagsPage    = 1000
	maxPages    = 1000
)

var accepted = []string{
	ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, MediaTypeDockerList, MediaTypeDockerManifest,
}

func pull(s *Source) []auth.Scope { return []auth.Scope{{Repository: s.path(), Actions: "pull"}} }

func push(s *Source) []auth.Scope { return []auth.Scope{{Repository: s.path(), Actions: "pull,push"}} }

// Resolve asks for the digest, size and type of a tag or digest without its
// content. A registry that does not tell is fault.NotImplemented: ask Manifest.
func (s *Source) Resolve(ctx context.Context, ref string) (ocispec.Descriptor, error) {
	resp, err := s.ask(ctx, &request{method: http.MethodHead, path: s.path() + "/manifests/" + ref, header: http.Header{"Accept": accepted}, scopes: pull(s)})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer drain(resp)
	if resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusOK && resp.Header.Get("Docker-Content-Digest") == "" {
		return ocispec.Descriptor{}, fault.New(fault.NotImplemented, "%s does not answer HEAD of a manifest with its digest", s)
	}
	if resp.StatusCode != http.StatusOK {
		return ocispec.Descriptor{}, manifestError(ref, resp)
	}
	d := ocispec.Descriptor{MediaType: mediaType(resp), Digest: digest.Digest(resp.Header.Get("Docker-Content-Digest")), Size: resp.ContentLength}
	if err := checkDigest(d.Digest); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s answers HEAD of a manifest: %w", s, err)
	}
	if want := digest.Digest(ref); want.Validate() == nil && want != d.Digest {
		return ocispec.Descriptor{}, fault.New(fault.Invalid, "%s answers with manifest %s when asked for %s", s, d.Digest, want)
	}
	return d, nil
}

// ask is do for this source.
func (s *Source) ask(ctx context.Context, q *request) (*http.Response, error) {
	return s.r.c.do(ctx, s.e, s.login(), q)
}

// manifestError gives an answer to a question for a manifest Docker's words. An
// answer to HEAD has no body that would say them.
func manifestError(ref string, resp *http.Response) error {
	err := answerError(resp)
	if a := as(err); a != nil && a.text == "" {
		switch a.status {
		case http.StatusNotFound:
			a.code, a.text = "MANIFEST_UNKNOWN", "manifest unknown: "+ref
		case http.StatusUnauthorized:
			a.code, a.text = "UNAUTHORIZED", "unauthorized: authentication required"
		case http.StatusForbidden:
			a.code, a.text = "DENIED", "denied: requested access to the resource is denied"
		}
	}
	return err
}

// Manifest fetches a manifest or index by tag or digest and verifies it: by
// digest against what was asked for, by tag against what the registry announces.
func (s *Source) Manifest(ctx context.Context, ref string) (ocispec.Descriptor, []byte, error) {
	resp, err := s.ask(ctx, &request{method: http.MethodGet, path: s.path() + "/manifests/" + ref, header: http.Header{"Accept": accepted}, scopes: pull(s)})
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return ocispec.Descriptor{}, nil, manifestError(ref, resp)
	}
	raw, err := s.small(resp, MaxManifest)
	if err != nil {
		return ocispec.Descriptor{}, nil, fmt.Errorf("read manifest %s from %s: %w", ref, s, err)
	}
	d := ocispec.Descriptor{MediaType: mediaType(resp), Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	want := digest.Digest(ref)
	if want.Validate() != nil {
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if want != "" {
		if err := checkDigest(want); err != nil {
			return ocispec.Descriptor{}, nil, fmt.Errorf("%s answers with a manifest: %w", s, err)
		}
		if want != d.Digest {
			return ocispec.Descriptor{}, nil, fault.New(fault.Invalid, "manifest verification failed for digest %s: %s sent one with digest %s", want, s, d.Digest)
		}
	}
	d.MediaType, err = kind(raw, d.MediaType)
	return d, raw, err
}

// small reads a bounded answer whole, with the stall limit.
func (s *Source) small(resp *http.Response, limit int64) ([]byte, error) {
	body := watch(resp.Body, s.r.c.limits.Stall, func() { resp.Body.Close() })
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fault.New(fault.Invalid, "it is larger than the limit of %d bytes", limit)
	}
	return raw, nil
}

// kind decides what a manifest is. The Content-Type, the field mediaType and the
// shape must agree: a document that is an index to one reader and a manifest to
// another hides one from the other (CVE-2021-41190).
func kind(raw []byte, contentType string) (string, error) {
	var doc struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Layers        json.RawMessage `json:"layers"`
		Config        json.RawMessage `json:"config"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return "", fault.New(fault.Invalid, "the registry's manifest is not valid JSON: %w", err)
	}
	if strings.HasPrefix(contentType, schema1Prefix) || strings.HasPrefix(doc.MediaType, schema1Prefix) || doc.SchemaVersion == 1 || doc.FSLayers != nil {
		return "", fault.New(fault.Invalid, "this image has a manifest of Docker's schema 1, a format that registries gave up in 2019: push it again with a current tool")
	}
	is := contentType
	if is == "" || is == "application/json" || is == "text/plain" || is == "application/octet-stream" {
		is = doc.MediaType
	}
	if doc.MediaType != "" && doc.MediaType != is {
		return "", fault.New(fault.Invalid, "the registry sends a manifest as %q that says it is %q: refused", contentType, clip(doc.MediaType))
	}
	isIndex, isManifest := doc.Manifests != nil, doc.Layers != nil || doc.Config != nil
	if isIndex && isManifest {
		return "", fault.New(fault.Invalid, "the registry's document is both an index and a manifest: refused")
	}
	switch is {
	case ocispec.MediaTypeImageIndex, MediaTypeDockerList:
		if isManifest {
			return "", fault.New(fault.Invalid, "the registry sends a manifest of one image as an index: refused")
		}
	case ocispec.MediaTypeImageManifest, MediaTypeDockerManifest:
		if isIndex {
			return "", fault.New(fault.Invalid, "the registry sends an index as a manifest of one image: refused")
		}
	case "":
		return "", fault.New(fault.Invalid, "the registry's manifest does not say of which type it is")
	default:
		return "", fault.New(fault.Invalid, "the registry's manifest is of type %q, which is no image", clip(is))
	}
	return is, nil
}

// Kind is kind for documents that did not come from a registry.
func Kind(raw []byte) (string, error) { return kind(raw, "") }

func mediaType(resp *http.Response) string {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fault.New(fault.Invalid, "%q is not a sha256 digest", clip(string(d)))
	}
	return nil
}

// PutManifest uploads a manifest or index under a tag or its digest.
func (s *Source) PutManifest(ctx context.Context, ref, mediaType string, raw []byte) error {
	resp, err := s.ask(ctx, &request{
		method: http.MethodPut, path: s.path() + "/manifests/" + ref, header: http.Header{"Content-Type": {mediaType}}, scopes: push(s),
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, size: int64(len(raw)),
	})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return answerError(resp)
	}
	drain(resp)
	return nil
}

// Tags lists all tags of the repository.
func (s *Source) Tags(ctx context.Context) ([]string, error) {
	var tags []string
	err := s.pages(ctx, s.path()+"/tags/list", func(raw []byte) error {
		var page struct{ Tags []string }
		if err := json.Unmarshal(raw, &page); err != nil {
			return fault.New(fault.Invalid, "%s answers with a list of tags that is not valid: %w", s, err)
		}
		if tags = append(tags, page.Tags...); len(tags) > maxTags {
			return fault.New(fault.Invalid, "%s lists more than %d tags", s, maxTags)
		}
		return nil
	})
	return tags, err
}

// pages reads a list that comes in pages (RFC 5988 links).
func (s *Source) pages(ctx context.Context, path string, f func([]byte) error) error {
	q := &request{method: http.MethodGet, path: path, query: url.Values{"n": {fmt.Sprint(tagsPage)}}, scopes: pull(s)}
	for n := 0; n < maxPages; n++ {
		resp, err := s.ask(ctx, q)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return answerError(resp)
		}
		raw, err := s.small(resp, MaxManifest)
		if err != nil {
			return fmt.Errorf("read a list from %s: %w", s, err)
		}
		if err := f(raw); err != nil {
			return err
		}
		next := nextPage(resp)
		if next == nil {
			return nil
		}
		q = &request{method: http.MethodGet, path: path, query: next, scopes: q.scopes}
	}
	return fault.New(fault.Invalid, "%s lists more than %d pages", s, maxPages)
}

// nextPage takes only the query of the link: the list goes on where it began.
func nextPage(resp *http.Response) url.Values {
	link, rest, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if !ok || !strings.Contains(strings.ReplaceAll(rest, `"`, ""), "rel=next") {
		return nil
	}
	u, err := url.Parse(link)
	if err != nil || len(u.Query()) == 0 {
		return nil
	}
	return u.Query()
}
