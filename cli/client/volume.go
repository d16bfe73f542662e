package client

import (
	"context"
	"encoding/json"
	"io"
	"net/url"

	"github.com/moby/moby/api/types/volume"

	"github.com/sampan-containers/sampan/cli/http1"
)

// VolumeCreateOptions describe a volume; an empty name makes an anonymous one.
type VolumeCreateOptions struct {
	Name, Driver       string
	DriverOpts, Labels map[string]string
}

// VolumeCreateResult is the volume.
type VolumeCreateResult struct{ Volume volume.Volume }

// VolumeCreate makes a volume; one that exists is returned.
func (c *Client) VolumeCreate(ctx context.Context, o VolumeCreateOptions) (VolumeCreateResult, error) {
	got, err := fetch[volume.Volume](ctx, c, post("/volumes/create", nil, volume.CreateRequest{
		Name: o.Name, Driver: o.Driver, DriverOpts: o.DriverOpts, Labels: o.Labels,
	}))
	return VolumeCreateResult{Volume: got}, err
}

// VolumeInspectOptions is empty.
type VolumeInspectOptions struct{}

// VolumeInspectResult is a volume, and the text it came as.
type VolumeInspectResult struct {
	Volume volume.Volume
	Raw    json.RawMessage
}

// VolumeInspect returns all that is known of a volume.
func (c *Client) VolumeInspect(ctx context.Context, name string, _ VolumeInspectOptions) (VolumeInspectResult, error) {
	name, err := checked("volume", name)
	if err != nil {
		return VolumeInspectResult{}, err
	}
	got, raw, err := fetchRaw[volume.Volume](ctx, c, get("/volumes/"+name, nil))
	return VolumeInspectResult{Volume: got, Raw: raw}, err
}

// VolumeListOptions select volumes.
type VolumeListOptions struct{ Filters Filters }

// VolumeListResult are volumes.
type VolumeListResult struct {
	Items    []volume.Volume
	Warnings []string
}

// VolumeList lists volumes.
func (c *Client) VolumeList(ctx context.Context, o VolumeListOptions) (VolumeListResult, error) {
	got, err := fetch[volume.ListResponse](ctx, c, get("/volumes", o.Filters.query()))
	return VolumeListResult{Items: got.Volumes, Warnings: got.Warnings}, err
}

// VolumeRemoveOptions: Force removes one whose driver is gone.
type VolumeRemoveOptions struct{ Force bool }

// VolumeRemove removes a volume nobody uses.
func (c *Client) VolumeRemove(ctx context.Context, name string, o VolumeRemoveOptions) (struct{}, error) {
	name, err := checked("volume", name)
	if err != nil {
		return struct{}{}, err
	}
	q := url.Values{}
	flag(q, "force", o.Force)
	return struct{}{}, c.send(ctx, del("/volumes/"+name, q))
}

// VolumePruneOptions: All also takes volumes that have a name.
type VolumePruneOptions struct {
	All     bool
	Filters Filters
}

// VolumePruneResult is what was removed.
type VolumePruneResult struct{ Report volume.PruneReport }

// VolumePrune removes volumes nobody uses.
func (c *Client) VolumePrune(ctx context.Context, o VolumePruneOptions) (VolumePruneResult, error) {
	filters := Filters{}
	for term, values := range o.Filters {
		filters[term] = values
	}
	if o.All {
		filters.Add("all", "true")
	}
	got, err := fetch[volume.PruneReport](ctx, c, post("/volumes/prune", filters.query(), nil))
	return VolumePruneResult{Report: got}, err
}

// VolumeRename gives a volume that nobody uses another name.
func (c *Client) VolumeRename(ctx context.Context, name, to string) error {
	name, err := checked("volume", name)
	if err != nil {
		return err
	}
	return c.send(ctx, post("/volumes/"+name+"/rename", url.Values{"name": {to}}, nil))
}

// VolumeClone makes a volume with the content of another one.
func (c *Client) VolumeClone(ctx context.Context, name string, o VolumeCreateOptions) (VolumeCreateResult, error) {
	name, err := checked("volume", name)
	if err != nil {
		return VolumeCreateResult{}, err
	}
	got, err := fetch[volume.Volume](ctx, c, post("/volumes/"+name+"/clone", nil, volume.CreateRequest{Name: o.Name, Labels: o.Labels}))
	return VolumeCreateResult{Volume: got}, err
}

// VolumeExport returns a volume's content as a tar stream.
func (c *Client) VolumeExport(ctx context.Context, name string) (io.ReadCloser, error) {
	name, err := checked("volume", name)
	if err != nil {
		return nil, err
	}
	return c.stream(ctx, get("/volumes/"+name+"/archive", nil))
}

// VolumeImport makes a volume of a tar stream.
func (c *Client) VolumeImport(ctx context.Context, content io.Reader, o VolumeCreateOptions) (VolumeCreateResult, error) {
	name, err := checked("volume", o.Name)
	if err != nil {
		return VolumeCreateResult{}, err
	}
	q := url.Values{}
	for key, value := range o.Labels {
		q.Add("label", key+"="+value)
	}
	r := request{method: "PUT", path: "/volumes/" + name + "/archive", query: q, body: content, header: http1.Header{"Content-Type": {"application/x-tar"}}}
	got, err := fetch[volume.Volume](ctx, c, r)
	return VolumeCreateResult{Volume: got}, err
}
