package client

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/moby/moby/api/types/network"
)

// NetworkCreateOptions describe a network.
type NetworkCreateOptions struct {
	Driver, Scope, ConfigFrom                 string
	EnableIPv4, EnableIPv6                    *bool
	IPAM                                      *network.IPAM
	Internal, Attachable, Ingress, ConfigOnly bool
	Options, Labels                           map[string]string
}

// NetworkCreateResult is a new network.
type NetworkCreateResult struct {
	ID      string
	Warning []string
}

// NetworkCreate makes a network.
func (c *Client) NetworkCreate(ctx context.Context, name string, o NetworkCreateOptions) (NetworkCreateResult, error) {
	req := network.CreateRequest{
		Name: name, Driver: o.Driver, Scope: o.Scope, EnableIPv4: o.EnableIPv4, EnableIPv6: o.EnableIPv6, IPAM: o.IPAM,
		Internal: o.Internal, Attachable: o.Attachable, Ingress: o.Ingress, ConfigOnly: o.ConfigOnly, Options: o.Options, Labels: o.Labels,
	}
	if o.ConfigFrom != "" {
		req.ConfigFrom = &network.ConfigReference{Network: o.ConfigFrom}
	}
	got, err := fetch[network.CreateResponse](ctx, c, post("/networks/create", nil, req))
	out := NetworkCreateResult{ID: got.ID}
	if got.Warning != "" {
		out.Warning = []string{got.Warning}
	}
	return out, err
}

// NetworkInspectOptions select and widen what is shown.
type NetworkInspectOptions struct {
	Scope   string
	Verbose bool
}

// NetworkInspectResult is a network, and the text it came as.
type NetworkInspectResult struct {
	Network network.Inspect
	Raw     json.RawMessage
}

// NetworkInspect returns all that is known of a network.
func (c *Client) NetworkInspect(ctx context.Context, name string, o NetworkInspectOptions) (NetworkInspectResult, error) {
	name, err := checked("network", name)
	if err != nil {
		return NetworkInspectResult{}, err
	}
	q := url.Values{}
	text(q, "scope", o.Scope)
	if o.Verbose {
		q.Set("verbose", "true")
	}
	got, raw, err := fetchRaw[network.Inspect](ctx, c, get("/networks/"+name, q))
	return NetworkInspectResult{Network: got, Raw: raw}, err
}

// NetworkListOptions select networks.
type NetworkListOptions struct{ Filters Filters }

// NetworkListResult are networks.
type NetworkListResult struct{ Items []network.Summary }

// NetworkList lists networks.
func (c *Client) NetworkList(ctx context.Context, o NetworkListOptions) (NetworkListResult, error) {
	got, err := fetch[[]network.Summary](ctx, c, get("/networks", o.Filters.query()))
	return NetworkListResult{Items: got}, err
}

// NetworkRemoveOptions is empty.
type NetworkRemoveOptions struct{}

// NetworkRemove removes a network nobody is on.
func (c *Client) NetworkRemove(ctx context.Context, name string, _ NetworkRemoveOptions) (struct{}, error) {
	name, err := checked("network", name)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.send(ctx, del("/networks/"+name, nil))
}

// NetworkConnectOptions name a container and its place in the network.
type NetworkConnectOptions struct {
	Container      string
	EndpointConfig *network.EndpointSettings
}

// NetworkConnect joins a container to a network.
func (c *Client) NetworkConnect(ctx context.Context, name string, o NetworkConnectOptions) (struct{}, error) {
	name, err := checked("network", name)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.send(ctx, post("/networks/"+name+"/connect", nil, network.ConnectRequest{Container: o.Container, EndpointConfig: o.EndpointConfig}))
}

// NetworkDisconnectOptions name a container.
type NetworkDisconnectOptions struct {
	Container string
	Force     bool
}

// NetworkDisconnect takes a container out of a network.
func (c *Client) NetworkDisconnect(ctx context.Context, name string, o NetworkDisconnectOptions) (struct{}, error) {
	name, err := checked("network", name)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.send(ctx, post("/networks/"+name+"/disconnect", nil, network.DisconnectRequest{Container: o.Container, Force: o.Force}))
}

// NetworkPruneOptions select networks nobody is on.
type NetworkPruneOptions struct{ Filters Filters }

// NetworkPruneResult is what was removed.
type NetworkPruneResult struct{ Report network.PruneReport }

// NetworkPrune removes networks nobody is on.
func (c *Client) NetworkPrune(ctx context.Context, o NetworkPruneOptions) (NetworkPruneResult, error) {
	got, err := fetch[network.PruneReport](ctx, c, post("/networks/prune", o.Filters.query(), nil))
	return NetworkPruneResult{Report: got}, err
}
