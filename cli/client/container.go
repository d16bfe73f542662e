package client

import (
	"context"
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/cli/http1"
)

// RunPath is the route of create, attach and start in one request.
const RunPath = "/sampan/run"

// NoSuchRoute tells whether a daemon does not know a route of Sampan's own.
func NoSuchRoute(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == http1.NotFound && strings.Contains(e.Message, "page not found")
}

// ContainerCreateOptions are the parts of a container; see ContainerCreate.
type ContainerCreateOptions struct {
	Config           *container.Config
	HostConfig       *container.HostConfig
	NetworkingConfig *network.NetworkingConfig
	Platform         *ocispec.Platform
	Name             string
}

// ContainerCreateResult is a new container.
type ContainerCreateResult struct {
	ID       string
	Warnings []string
}

// ContainerCreate makes a container. Config.Image must be set.
func (c *Client) ContainerCreate(ctx context.Context, o ContainerCreateOptions) (ContainerCreateResult, error) {
	got, err := fetch[container.CreateResponse](ctx, c, post("/containers/create", o.Query(), o.Body()))
	return ContainerCreateResult{ID: got.ID, Warnings: got.Warnings}, err
}

// Query are the parameters of the request.
func (o ContainerCreateOptions) Query() url.Values {
	q := url.Values{}
	text(q, "name", o.Name)
	if o.Platform != nil {
		text(q, "platform", platformPath(*o.Platform))
	}
	return q
}

// Body is the body of the request.
func (o ContainerCreateOptions) Body() container.CreateRequest {
	return container.CreateRequest{Config: o.Config, HostConfig: fullCapabilities(o.HostConfig), NetworkingConfig: o.NetworkingConfig}
}

// ContainerRunDetached is ContainerCreate and ContainerStart in one request of
// Sampan's own. The error of a start has a Sampan-Container header.
func (c *Client) ContainerRunDetached(ctx context.Context, o ContainerCreateOptions) (ContainerCreateResult, error) {
	q := o.Query()
	q.Set("detach", "1")
	got, err := fetch[container.CreateResponse](ctx, c, post(RunPath, q, Compact{o.Body()}))
	return ContainerCreateResult{ID: got.ID, Warnings: got.Warnings}, err
}

// platformPath is OS/ARCH[/VARIANT], or nothing for no platform.
func platformPath(p ocispec.Platform) string {
	if p.OS == "" {
		return ""
	}
	return path.Join(p.OS, p.Architecture, p.Variant)
}

// fullCapabilities writes capabilities as daemons compare them: CAP_CHOWN for
// chown, sorted, each once.
func fullCapabilities(h *container.HostConfig) *container.HostConfig {
	if h == nil || len(h.CapAdd)+len(h.CapDrop) == 0 {
		return h
	}
	full := *h
	full.CapAdd, full.CapDrop = capabilityNames(h.CapAdd), capabilityNames(h.CapDrop)
	return &full
}

func capabilityNames(names []string) []string {
	out := slices.Clone(names)
	for i, name := range out {
		out[i] = strings.ToUpper(name)
		if out[i] != "ALL" && !strings.HasPrefix(out[i], "CAP_") {
			out[i] = "CAP_" + out[i]
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ContainerCommitOptions describe the new image.
type ContainerCommitOptions struct {
	Reference, Comment, Author string
	Changes                    []string
	NoPause                    bool
	Config                     *container.Config
}

// ContainerCommitResult is the new image.
type ContainerCommitResult struct{ ID string }

// ContainerCommit makes an image of a container's file system.
func (c *Client) ContainerCommit(ctx context.Context, name string, o ContainerCommitOptions) (ContainerCommitResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerCommitResult{}, err
	}
	q := url.Values{"container": {name}}
	if o.Reference != "" {
		ref := ParseReference(o.Reference)
		if ref.Digest != "" {
			return ContainerCommitResult{}, errors.New("refusing to create a tag with a digest reference")
		}
		q.Set("repo", ref.Name())
		q.Set("tag", ref.WithDefaultTag().Tag)
	}
	text(q, "comment", o.Comment)
	text(q, "author", o.Author)
	for _, change := range o.Changes {
		q.Add("changes", change)
	}
	if o.NoPause {
		q.Set("pause", "0")
	}
	got, err := fetch[container.CommitResponse](ctx, c, post("/commit", q, o.Config))
	return ContainerCommitResult{ID: got.ID}, err
}
