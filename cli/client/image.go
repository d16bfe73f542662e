package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/cli/http1"
)

// Authorize asks for credentials, in the form of the X-Registry-Auth header.
type Authorize func(context.Context) (string, error)

// ImagePullOptions: PrivilegeFunc is asked when RegistryAuth is not enough.
type ImagePullOptions struct {
	All           bool
	RegistryAuth  string
	PrivilegeFunc Authorize
	Platforms     []ocispec.Platform
}

// ImagePull downloads an image; the answer is Docker's stream of messages.
func (c *Client) ImagePull(ctx context.Context, name string, o ImagePullOptions) (io.ReadCloser, error) {
	ref := ParseReference(name)
	q := url.Values{"fromImage": {ref.Name()}}
	if !o.All {
		q.Set("tag", ref.tagOrDigest())
	}
	if len(o.Platforms) > 1 {
		return nil, errdefs.ErrInvalidArgument.WithMessage("specifying multiple platforms is not yet supported")
	}
	for _, p := range o.Platforms {
		text(q, "platform", platformPath(p))
	}
	return c.authorized(ctx, post("/images/create", q, nil), o.RegistryAuth, o.PrivilegeFunc)
}

// authorized streams with credentials, and asks for others once.
func (c *Client) authorized(ctx context.Context, r request, auth string, ask Authorize) (io.ReadCloser, error) {
	r.header = authHeader(auth)
	body, err := c.stream(ctx, r)
	if ask == nil || !errdefs.IsUnauthorized(err) {
		return body, err
	}
	if auth, err = ask(ctx); err != nil {
		return nil, err
	}
	r.header = authHeader(auth)
	return c.stream(ctx, r)
}

func authHeader(auth string) http1.Header {
	if auth == "" {
		return nil
	}
	return http1.Header{registry.AuthHeader: {auth}}
}

// ImagePushOptions are those of a pull.
type ImagePushOptions struct {
	All           bool
	RegistryAuth  string
	PrivilegeFunc Authorize
	Platform      *ocispec.Platform
}

// ImagePush uploads an image; the answer is Docker's stream of messages.
func (c *Client) ImagePush(ctx context.Context, name string, o ImagePushOptions) (io.ReadCloser, error) {
	ref := ParseReference(name)
	if ref.Digest != "" {
		return nil, errors.New("cannot push a digest reference")
	}
	q := url.Values{}
	if !o.All {
		q.Set("tag", ref.WithDefaultTag().Tag)
	}
	if o.Platform != nil {
		q["platform"] = platforms(*o.Platform)
	}
	return c.authorized(ctx, post("/images/"+ref.Name()+"/push", q, nil), o.RegistryAuth, o.PrivilegeFunc)
}

// platforms encodes each platform as the API wants it.
func platforms(list ...ocispec.Platform) []string {
	var out []string
	for _, p := range list {
		// A platform is strings: it always encodes.
		text, _ := json.Marshal(p)
		out = append(out, string(text))
	}
	return out
}

// ImageImportSource is a stream ("-") or a URL the daemon reads.
type ImageImportSource struct {
	Source     io.Reader
	SourceName string
}

// ImageImportOptions describe the image that is made.
type ImageImportOptions struct {
	Tag, Message string
	Changes      []string
	Platform     ocispec.Platform
}

// ImageImport makes an image of a tar of a file system.
func (c *Client) ImageImport(ctx context.Context, src ImageImportSource, ref string, o ImageImportOptions) (io.ReadCloser, error) {
	q := url.Values{}
	text(q, "fromSrc", src.SourceName)
	text(q, "repo", ref)
	text(q, "tag", o.Tag)
	text(q, "message", o.Message)
	text(q, "platform", platformPath(o.Platform))
	for _, change := range o.Changes {
		q.Add("changes", change)
	}
	r := post("/images/create", q, nil)
	if src.Source != nil {
		r.body = src.Source
	}
	return c.stream(ctx, r)
}

// ImageLoadOption changes a load.
type ImageLoadOption func(url.Values)

// ImageLoadWithQuiet leaves the progress out.
func ImageLoadWithQuiet(quiet bool) ImageLoadOption {
	return func(q url.Values) {
		if quiet {
			q.Set("quiet", "1")
		}
	}
}

// ImageLoadWithPlatforms loads only these platforms.
func ImageLoadWithPlatforms(list ...ocispec.Platform) ImageLoadOption {
	return func(q url.Values) { q["platform"] = platforms(list...) }
}

// ImageLoad reads an archive of images.
func (c *Client) ImageLoad(ctx context.Context, input io.Reader, options ...ImageLoadOption) (io.ReadCloser, error) {
	q := url.Values{"quiet": {"0"}}
	for _, o := range options {
		o(q)
	}
	r := post("/images/load", q, input)
	r.header = http1.Header{"Content-Type": {"application/x-tar"}}
	return c.stream(ctx, r)
}

// ImageSaveOption changes a save.
type ImageSaveOption func(url.Values)

// ImageSaveWithPlatforms saves only these platforms.
func ImageSaveWithPlatforms(list ...ocispec.Platform) ImageSaveOption {
	return func(q url.Values) { q["platform"] = platforms(list...) }
}

// ImageSave writes an archive of images.
func (c *Client) ImageSave(ctx context.Context, names []string, options ...ImageSaveOption) (io.ReadCloser, error) {
	q := url.Values{"names": names}
	for _, o := range options {
		o(q)
	}
	return c.stream(ctx, get("/images/get", q))
}

// ImageListOptions select images.
type ImageListOptions struct {
	All, SharedSize, Manifests bool
	Filters                    Filters
}

// ImageListResult are images, the newest first.
type ImageListResult struct{ Items []image.Summary }

// ImageList lists images.
func (c *Client) ImageList(ctx context.Context, o ImageListOptions) (ImageListResult, error) {
	q := o.Filters.query()
	flag(q, "all", o.All)
	flag(q, "shared-size", o.SharedSize)
	flag(q, "manifests", o.Manifests)
	got, err := fetch[[]image.Summary](ctx, c, get("/images/json", q))
	return ImageListResult{Items: got}, err
}

type inspectRequest struct {
	query url.Values
	raw   *bytes.Buffer
}

// ImageInspectOption changes an inspect.
type ImageInspectOption func(*inspectRequest)

// ImageInspectWithRawResponse also keeps the text.
func ImageInspectWithRawResponse(raw *bytes.Buffer) ImageInspectOption {
	return func(r *inspectRequest) { r.raw = raw }
}

// ImageInspectWithPlatform looks at this platform of the image.
func ImageInspectWithPlatform(p *ocispec.Platform) ImageInspectOption {
	return func(r *inspectRequest) {
		if p != nil {
			r.query["platform"] = platforms(*p)
		}
	}
}

// ImageInspectResult is an image.
type ImageInspectResult struct{ image.InspectResponse }

// ImageInspect returns all that is known of an image.
func (c *Client) ImageInspect(ctx context.Context, name string, options ...ImageInspectOption) (ImageInspectResult, error) {
	name, err := checked("image", name)
	if err != nil {
		return ImageInspectResult{}, err
	}
	r := inspectRequest{query: url.Values{}}
	for _, o := range options {
		o(&r)
	}
	got, raw, err := fetchRaw[image.InspectResponse](ctx, c, get("/images/"+name+"/json", r.query))
	if r.raw != nil {
		r.raw.Write(raw)
	}
	return ImageInspectResult{got}, err
}

// ImageHistoryOption changes a history.
type ImageHistoryOption func(url.Values)

// ImageHistoryWithPlatform looks at this platform of the image.
func ImageHistoryWithPlatform(p ocispec.Platform) ImageHistoryOption {
	return func(q url.Values) { q["platform"] = platforms(p) }
}

// ImageHistoryResult are an image's steps, the newest first.
type ImageHistoryResult struct{ Items []image.HistoryResponseItem }

// ImageHistory lists how an image was made.
func (c *Client) ImageHistory(ctx context.Context, name string, options ...ImageHistoryOption) (ImageHistoryResult, error) {
	name, err := checked("image", name)
	if err != nil {
		return ImageHistoryResult{}, err
	}
	q := url.Values{}
	for _, o := range options {
		o(q)
	}
	got, err := fetch[[]image.HistoryResponseItem](ctx, c, get("/images/"+name+"/history", q))
	return ImageHistoryResult{Items: got}, err
}

// ImageTagOptions are an image and its new name.
type ImageTagOptions struct{ Source, Target string }

// ImageTag gives an image one more name.
func (c *Client) ImageTag(ctx context.Context, o ImageTagOptions) (struct{}, error) {
	source, err := checked("image", o.Source)
	if err != nil {
		return struct{}{}, err
	}
	ref := ParseReference(o.Target)
	if ref.Digest != "" {
		return struct{}{}, errors.New("refusing to create a tag with a digest reference")
	}
	q := url.Values{"repo": {ref.Name()}, "tag": {ref.WithDefaultTag().Tag}}
	return struct{}{}, c.send(ctx, post("/images/"+source+"/tag", q, nil))
}

// ImageRemoveOptions say how an image goes.
type ImageRemoveOptions struct {
	Platforms            []ocispec.Platform
	Force, PruneChildren bool
}

// ImageRemoveResult is what went.
type ImageRemoveResult struct{ Items []image.DeleteResponse }

// ImageRemove removes a name of an image, and the image with its last.
func (c *Client) ImageRemove(ctx context.Context, name string, o ImageRemoveOptions) (ImageRemoveResult, error) {
	name, err := checked("image", name)
	if err != nil {
		return ImageRemoveResult{}, err
	}
	q := url.Values{}
	flag(q, "force", o.Force)
	flag(q, "noprune", !o.PruneChildren)
	if len(o.Platforms) > 0 {
		q["platforms"] = platforms(o.Platforms...)
	}
	got, err := fetch[[]image.DeleteResponse](ctx, c, del("/images/"+name, q))
	return ImageRemoveResult{Items: got}, err
}

// ImagePruneOptions select unused images.
type ImagePruneOptions struct{ Filters Filters }

// ImagePruneResult is what was removed.
type ImagePruneResult struct{ Report image.PruneReport }

// ImagePrune removes unused images.
func (c *Client) ImagePrune(ctx context.Context, o ImagePruneOptions) (ImagePruneResult, error) {
	got, err := fetch[image.PruneReport](ctx, c, post("/images/prune", o.Filters.query(), nil))
	return ImagePruneResult{Report: got}, err
}

// ImageSearchOptions bound a search.
type ImageSearchOptions struct {
	RegistryAuth  string
	PrivilegeFunc Authorize
	Filters       Filters
	Limit         int
}

// ImageSearchResult are the repositories found.
type ImageSearchResult struct{ Items []registry.SearchResult }

// ImageSearch searches a registry.
func (c *Client) ImageSearch(ctx context.Context, term string, o ImageSearchOptions) (ImageSearchResult, error) {
	q := o.Filters.query()
	q.Set("term", term)
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	body, err := c.authorized(ctx, get("/images/search", q), o.RegistryAuth, o.PrivilegeFunc)
	if err != nil {
		return ImageSearchResult{}, err
	}
	defer body.Close()
	var out ImageSearchResult
	return out, json.NewDecoder(body).Decode(&out.Items)
}

// ImageDamage is a blob or layer that is not what its name says.
type ImageDamage struct {
	Kind, Digest, Reason string
	Images               []string
	Repaired             bool
}

// ImageCheckResult is what a check of all images found.
type ImageCheckResult struct {
	Blobs, Layers int
	Bytes         int64
	Damaged       []ImageDamage
	Failed        string
}

// ImageCheck verifies all blobs and layers. Only our daemon can. A repair may need
// logins (base64 of JSON, by registry) to fetch what is damaged.
func (c *Client) ImageCheck(ctx context.Context, repair bool, logins string) (ImageCheckResult, error) {
	r := post("/sampan/images/check", url.Values{}, nil)
	flag(r.query, "repair", repair)
	if logins != "" {
		r.header = http1.Header{"X-Registry-Config": {logins}}
	}
	return fetch[ImageCheckResult](ctx, c, r)
}
