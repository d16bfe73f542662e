package client

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/moby/moby/api/types/volume"
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
