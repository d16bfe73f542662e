package client

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// ContainerInspectOptions ask for the sizes, which are measured.
type ContainerInspectOptions struct{ Size bool }

// ContainerInspectResult is a container, and the text it came as.
type ContainerInspectResult struct {
	Container container.InspectResponse
	Raw       json.RawMessage
}

// ContainerInspect returns all that is known of a container.
func (c *Client) ContainerInspect(ctx context.Context, name string, o ContainerInspectOptions) (ContainerInspectResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerInspectResult{}, err
	}
	q := url.Values{}
	flag(q, "size", o.Size)
	got, raw, err := fetchRaw[container.InspectResponse](ctx, c, get("/containers/"+name+"/json", q))
	return ContainerInspectResult{Container: got, Raw: raw}, err
}

// ContainerListOptions select containers.
type ContainerListOptions struct {
	Size, All bool
	// Brief leaves out labels, mounts and networks; only our daemons know it.
	Brief   bool
	Limit   int
	Filters Filters
}

// ContainerListResult are containers, the newest first.
type ContainerListResult struct{ Items []container.Summary }

// ContainerList lists containers.
func (c *Client) ContainerList(ctx context.Context, o ContainerListOptions) (ContainerListResult, error) {
	q := o.Filters.query()
	flag(q, "all", o.All)
	flag(q, "size", o.Size)
	flag(q, "brief", o.Brief)
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	got, err := fetch[[]container.Summary](ctx, c, get("/containers/json", q))
	return ContainerListResult{Items: got}, err
}

// ContainerLogsOptions select what of the log is sent.
type ContainerLogsOptions struct {
	ShowStdout, ShowStderr      bool
	Since, Until, Tail          string
	Timestamps, Follow, Details bool
	// Grep is a regular expression that lines must match; only our daemons know it.
	Grep string
}

// ContainerLogs streams a container's log.
func (c *Client) ContainerLogs(ctx context.Context, name string, o ContainerLogsOptions) (io.ReadCloser, error) {
	name, err := checked("container", name)
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	flag(q, "stdout", o.ShowStdout)
	flag(q, "stderr", o.ShowStderr)
	flag(q, "timestamps", o.Timestamps)
	flag(q, "details", o.Details)
	flag(q, "follow", o.Follow)
	q.Set("tail", o.Tail)
	if o.Grep != "" {
		q.Set("grep", o.Grep)
	}
	for key, value := range map[string]string{"since": o.Since, "until": o.Until} {
		if value == "" {
			continue
		}
		if value, err = timestamp(value); err != nil {
			return nil, errdefs.ErrInvalidArgument.WithMessage("invalid value for " + strconv.Quote(key) + ": " + err.Error())
		}
		q.Set(key, value)
	}
	resp, err := c.do(ctx, get("/containers/"+name+"/logs", q))
	if err != nil {
		return nil, err
	}
	return typedBody{resp.Body, resp.Header.Get("Content-Type")}, nil
}

// Multiplexed tells whether a log that ContainerLogs returned is surely in frames. If
// not, only the container tells: daemons of before API 1.42 do not say it.
func Multiplexed(log io.Reader) bool {
	b, ok := log.(typedBody)
	return ok && b.mediaType == "application/vnd.docker.multiplexed-stream"
}

// typedBody is an answer with what its header says of it.
type typedBody struct {
	io.ReadCloser
	mediaType string
}

// ContainerTopOptions are arguments of ps.
type ContainerTopOptions struct{ Arguments []string }

// ContainerTopResult is a table of processes.
type ContainerTopResult struct {
	Processes [][]string
	Titles    []string
}

// ContainerTop lists the processes of a container.
func (c *Client) ContainerTop(ctx context.Context, name string, o ContainerTopOptions) (ContainerTopResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerTopResult{}, err
	}
	q := url.Values{}
	text(q, "ps_args", strings.Join(o.Arguments, " "))
	got, err := fetch[container.TopResponse](ctx, c, get("/containers/"+name+"/top", q))
	return ContainerTopResult{Processes: got.Processes, Titles: got.Titles}, err
}

// ContainerStatsOptions: with Stream the answer has no end; without, a sample
// before it costs a second.
type ContainerStatsOptions struct{ Stream, IncludePreviousSample bool }

// ContainerStatsResult is a stream of JSON samples.
type ContainerStatsResult struct{ Body io.ReadCloser }

// ContainerStats measures a container.
func (c *Client) ContainerStats(ctx context.Context, name string, o ContainerStatsOptions) (ContainerStatsResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerStatsResult{}, err
	}
	q := url.Values{"stream": {strconv.FormatBool(o.Stream)}}
	if !o.Stream && !o.IncludePreviousSample {
		q.Set("one-shot", "true")
	}
	body, err := c.stream(ctx, get("/containers/"+name+"/stats", q))
	return ContainerStatsResult{Body: body}, err
}

// ContainerDiffOptions is empty.
type ContainerDiffOptions struct{}

// ContainerDiffResult is what differs from the image.
type ContainerDiffResult struct{ Changes []container.FilesystemChange }

// ContainerDiff lists what a container changed in its file system.
func (c *Client) ContainerDiff(ctx context.Context, name string, _ ContainerDiffOptions) (ContainerDiffResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerDiffResult{}, err
	}
	got, err := fetch[[]container.FilesystemChange](ctx, c, get("/containers/"+name+"/changes", nil))
	return ContainerDiffResult{Changes: got}, err
}

// ContainerExportOptions is empty.
type ContainerExportOptions struct{}

// ContainerExport streams a container's file system as a tar.
func (c *Client) ContainerExport(ctx context.Context, name string, _ ContainerExportOptions) (io.ReadCloser, error) {
	name, err := checked("container", name)
	if err != nil {
		return nil, err
	}
	return c.stream(ctx, get("/containers/"+name+"/export", nil))
}
