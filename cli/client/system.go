package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"github.com/sampan-containers/sampan/cli/http1"
)

// PingOptions is empty.
type PingOptions struct{}

// PingResult is what the daemon says of itself in headers.
type PingResult struct {
	APIVersion, OSType string
	Experimental       bool
	BuilderVersion     build.BuilderVersion
}

// Ping asks whether the daemon is there.
func (c *Client) Ping(ctx context.Context, _ PingOptions) (PingResult, error) {
	r := head("/_ping", nil)
	r.unversioned = true
	resp, err := c.do(ctx, r)
	if err != nil {
		return PingResult{}, err
	}
	resp.Body.Close()
	h := resp.Header
	return PingResult{
		APIVersion: h.Get("Api-Version"), OSType: h.Get("Ostype"), Experimental: h.Get("Docker-Experimental") == "true",
		BuilderVersion: build.BuilderVersion(h.Get("Builder-Version")),
	}, nil
}

// StopAllOptions say how all containers are stopped.
type StopAllOptions struct {
	Timeout *int // seconds; nil = each container's own
}

// StopAllResult tells which containers have ended, and what went wrong.
type StopAllResult struct {
	Stopped []string
	Error   string
}

// StopAll stops all containers and then the daemon. Only Sampan's daemon has it.
func (c *Client) StopAll(ctx context.Context, o StopAllOptions) (StopAllResult, error) {
	q := url.Values{}
	if o.Timeout != nil {
		q.Set("t", strconv.Itoa(*o.Timeout))
	}
	return fetch[StopAllResult](ctx, c, post("/sampan/stop", q, nil))
}

// HostFinding is what a check says about one property of the daemon's machine: State is
// ok, gap or fault, and Cost what comes of it.
type HostFinding struct{ Area, Name, State, Found, Cost string }

// HostCheck looks at the daemon's machine. Only Sampan's daemon has it.
func (c *Client) HostCheck(ctx context.Context) ([]HostFinding, error) {
	return fetch[[]HostFinding](ctx, c, get("/sampan/check", nil))
}

// InfoOptions is empty.
type InfoOptions struct{}

// SystemInfoResult is the state of the engine.
type SystemInfoResult struct{ Info system.Info }

// Info returns the state of the engine.
func (c *Client) Info(ctx context.Context, _ InfoOptions) (SystemInfoResult, error) {
	got, err := fetch[system.Info](ctx, c, get("/info", nil))
	return SystemInfoResult{Info: got}, err
}

// ServerVersionOptions is empty.
type ServerVersionOptions struct{}

// ServerVersion returns the versions of the engine's parts.
func (c *Client) ServerVersion(ctx context.Context, _ ServerVersionOptions) (system.VersionResponse, error) {
	return fetch[system.VersionResponse](ctx, c, get("/version", nil))
}

// EventsListOptions select events; times are as ContainerLogs takes them.
type EventsListOptions struct {
	Since, Until string
	Filters      Filters
}

// EventsResult delivers events until Err has a value: io.EOF at the end.
type EventsResult struct {
	Messages <-chan events.Message
	Err      <-chan error
}

// Events listens; when it returns, the daemon listens too.
func (c *Client) Events(ctx context.Context, o EventsListOptions) EventsResult {
	messages, failed := make(chan events.Message), make(chan error, 1)
	out := EventsResult{Messages: messages, Err: failed}
	q := o.Filters.query()
	for key, value := range map[string]string{"since": o.Since, "until": o.Until} {
		if value == "" {
			continue
		}
		at, err := timestamp(value)
		if err != nil {
			failed <- err
			return out
		}
		q.Set(key, at)
	}
	body, err := c.stream(ctx, get("/events", q))
	if err != nil {
		failed <- err
		return out
	}
	go func() {
		defer body.Close()
		for dec := json.NewDecoder(body); ; {
			var m events.Message
			if err := dec.Decode(&m); err != nil {
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				failed <- err
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
				failed <- ctx.Err()
				return
			}
		}
	}()
	return out
}

// timestamp turns a duration before now (10m), a date or time in RFC 3339 (the
// local zone where none is written), or seconds since 1970 with an optional
// fraction, into the last of these.
func timestamp(value string) (string, error) {
	if d, err := time.ParseDuration(value); err == nil && value != "0" { // 0 is 1970
		return unix(time.Now().Add(-d)), nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02",
	} {
		if t, err := time.ParseInLocation(layout, value, time.Local); err == nil {
			return unix(t), nil
		}
	}
	seconds, fraction, _ := strings.Cut(value, ".")
	if _, err := strconv.ParseInt(seconds, 10, 64); err != nil {
		return "", fmt.Errorf("%q is no time: write a duration (10m), a date (2006-01-02T15:04:05) or seconds since 1970", value)
	}
	if _, err := strconv.ParseUint("0"+fraction, 10, 64); err != nil {
		return "", fmt.Errorf("%q is no time: its fraction is no number", value)
	}
	return value, nil
}

func unix(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// RegistryLoginOptions are credentials to be checked.
type RegistryLoginOptions struct {
	Username, Password, ServerAddress, IdentityToken, RegistryToken string
}

// RegistryLoginResult is the registry's answer.
type RegistryLoginResult struct{ Auth registry.AuthResponse }

// RegistryLogin checks credentials.
func (c *Client) RegistryLogin(ctx context.Context, o RegistryLoginOptions) (RegistryLoginResult, error) {
	got, err := fetch[registry.AuthResponse](ctx, c, post("/auth", nil, registry.AuthConfig{
		Username: o.Username, Password: o.Password, ServerAddress: o.ServerAddress,
		IdentityToken: o.IdentityToken, RegistryToken: o.RegistryToken,
	}))
	return RegistryLoginResult{Auth: got}, err
}

// DistributionInspectOptions hold credentials.
type DistributionInspectOptions struct{ EncodedRegistryAuth string }

// DistributionInspectResult is what a registry has under a name.
type DistributionInspectResult struct{ registry.DistributionInspect }

// DistributionInspect asks a registry for an image's digest and platforms.
func (c *Client) DistributionInspect(ctx context.Context, ref string, o DistributionInspectOptions) (DistributionInspectResult, error) {
	ref, err := checked("distribution", ref)
	if err != nil {
		return DistributionInspectResult{}, err
	}
	r := get("/distribution/"+ref+"/json", nil)
	r.header = authHeader(o.EncodedRegistryAuth)
	got, err := fetch[registry.DistributionInspect](ctx, c, r)
	return DistributionInspectResult{got}, err
}

// DiskUsageOptions select what is measured.
type DiskUsageOptions struct{ Containers, Images, BuildCache, Volumes, Verbose bool }

// Usage is what a kind of object takes on disk; Items are there when asked for.
type Usage[T any] struct {
	ActiveCount, TotalCount, Reclaimable, TotalSize int64
	Items                                           []T
}

// DiskUsageResult is what all objects take on disk, in bytes.
type DiskUsageResult struct {
	Containers Usage[container.Summary]
	Images     Usage[image.Summary]
	Volumes    Usage[volume.Volume]
	BuildCache Usage[build.CacheRecord]
}

// diskUsage reads the answer of both shapes: sums since API 1.52, and lists
// from which they are computed before.
type diskUsage struct {
	ContainerUsage  *Usage[container.Summary]
	ImageUsage      *Usage[image.Summary]
	VolumeUsage     *Usage[volume.Volume]
	BuildCacheUsage *Usage[build.CacheRecord]

	LayersSize int64
	Images     []image.Summary
	Containers []container.Summary
	Volumes    []volume.Volume
	BuildCache []build.CacheRecord
}

// DiskUsage measures what objects take on disk.
func (c *Client) DiskUsage(ctx context.Context, o DiskUsageOptions) (DiskUsageResult, error) {
	q := url.Values{}
	for _, kind := range []struct {
		on   bool
		name system.DiskUsageObject
	}{
		{o.Containers, system.ContainerObject}, {o.Images, system.ImageObject},
		{o.Volumes, system.VolumeObject}, {o.BuildCache, system.BuildCacheObject},
	} {
		if kind.on {
			q.Add("type", string(kind.name))
		}
	}
	flag(q, "verbose", o.Verbose)
	got, err := fetch[diskUsage](ctx, c, get("/system/df", q))
	if err != nil {
		return DiskUsageResult{}, err
	}
	return DiskUsageResult{
		Containers: either(got.ContainerUsage, func() Usage[container.Summary] { return containersUsage(got.Containers) }),
		Images:     either(got.ImageUsage, func() Usage[image.Summary] { return imagesUsage(got.Images, got.LayersSize) }),
		Volumes:    either(got.VolumeUsage, func() Usage[volume.Volume] { return volumesUsage(got.Volumes) }),
		BuildCache: either(got.BuildCacheUsage, func() Usage[build.CacheRecord] { return cacheUsage(got.BuildCache) }),
	}, nil
}

func either[T any](sums *Usage[T], computed func() Usage[T]) Usage[T] {
	if sums != nil {
		return *sums
	}
	return computed()
}

func containersUsage(list []container.Summary) Usage[container.Summary] {
	u := Usage[container.Summary]{TotalCount: int64(len(list)), Items: list}
	for _, item := range list {
		u.TotalSize += item.SizeRw
		switch item.State {
		case container.StateRunning, container.StatePaused, container.StateRestarting:
			u.ActiveCount++
		default:
			u.Reclaimable += item.SizeRw
		}
	}
	return u
}

func imagesUsage(list []image.Summary, layers int64) Usage[image.Summary] {
	u := Usage[image.Summary]{TotalCount: int64(len(list)), TotalSize: layers, Items: list}
	for _, item := range list {
		switch {
		case item.Containers > 0:
			u.ActiveCount++
		case item.Containers == 0 && item.Size >= 0 && item.SharedSize >= 0:
			u.Reclaimable += item.Size - item.SharedSize
		}
	}
	return u
}

func volumesUsage(list []volume.Volume) Usage[volume.Volume] {
	u := Usage[volume.Volume]{TotalCount: int64(len(list)), Items: list}
	for _, item := range list {
		if item.UsageData == nil {
			continue
		}
		size := max(item.UsageData.Size, 0)
		u.TotalSize += size
		if item.UsageData.RefCount > 0 {
			u.ActiveCount++
		} else {
			u.Reclaimable += size
		}
	}
	return u
}

func cacheUsage(list []build.CacheRecord) Usage[build.CacheRecord] {
	u := Usage[build.CacheRecord]{TotalCount: int64(len(list)), Items: list}
	for _, item := range list {
		if item.InUse {
			u.ActiveCount++
		}
		if item.Shared {
			continue
		}
		u.TotalSize += item.Size
		if !item.InUse {
			u.Reclaimable += item.Size
		}
	}
	return u
}

// Call makes a request that is no route of Docker's: body is sent as JSON (or
// as it is, from an io.Reader), and the answer decoded into out, if that is not
// nil.
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	r := request{method: method, path: path, query: query, body: body}
	if out == nil {
		return c.send(ctx, r)
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer finish(resp.Body)
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// Stream is Call for an answer that the caller reads and closes.
func (c *Client) Stream(ctx context.Context, method, path string, query url.Values, body any) (io.ReadCloser, http1.Header, error) {
	resp, err := c.do(ctx, request{method: method, path: path, query: query, body: body})
	if err != nil {
		return nil, nil, err
	}
	return resp.Body, resp.Header, nil
}
