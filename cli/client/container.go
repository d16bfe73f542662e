package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
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

// ContainerStartOptions name a checkpoint to start from.
type ContainerStartOptions struct{ CheckpointID, CheckpointDir string }

// ContainerStart starts a container; a running one is left alone.
func (c *Client) ContainerStart(ctx context.Context, name string, o ContainerStartOptions) (struct{}, error) {
	q := url.Values{}
	text(q, "checkpoint", o.CheckpointID)
	text(q, "checkpoint-dir", o.CheckpointDir)
	return c.containerVerb(ctx, name, "start", q)
}

// containerVerb is POST /containers/NAME/VERB without content.
func (c *Client) containerVerb(ctx context.Context, name, verb string, q url.Values) (struct{}, error) {
	name, err := checked("container", name)
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.send(ctx, post("/containers/"+name+"/"+verb, q, nil))
}

// ContainerStopOptions override the container's own signal and time-out (in
// seconds; negative waits without limit).
type ContainerStopOptions struct {
	Signal  string
	Timeout *int
}

func (o ContainerStopOptions) query() url.Values {
	q := url.Values{}
	text(q, "signal", o.Signal)
	if o.Timeout != nil {
		q.Set("t", strconv.Itoa(*o.Timeout))
	}
	return q
}

// ContainerStop stops a container.
func (c *Client) ContainerStop(ctx context.Context, name string, o ContainerStopOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "stop", o.query())
}

// ContainerRestartOptions are those of a stop.
type ContainerRestartOptions ContainerStopOptions

// ContainerRestart stops and starts a container.
func (c *Client) ContainerRestart(ctx context.Context, name string, o ContainerRestartOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "restart", ContainerStopOptions(o).query())
}

// ContainerKillOptions name the signal; empty is KILL.
type ContainerKillOptions struct{ Signal string }

// ContainerKill sends a signal to the main process.
func (c *Client) ContainerKill(ctx context.Context, name string, o ContainerKillOptions) (struct{}, error) {
	q := url.Values{}
	text(q, "signal", o.Signal)
	return c.containerVerb(ctx, name, "kill", q)
}

// ContainerPauseOptions is empty.
type ContainerPauseOptions struct{}

// ContainerPause freezes all processes.
func (c *Client) ContainerPause(ctx context.Context, name string, _ ContainerPauseOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "pause", nil)
}

// ContainerUnpauseOptions is empty.
type ContainerUnpauseOptions struct{}

// ContainerUnpause thaws all processes.
func (c *Client) ContainerUnpause(ctx context.Context, name string, _ ContainerUnpauseOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "unpause", nil)
}

// ContainerRenameOptions hold the new name.
type ContainerRenameOptions struct{ NewName string }

// ContainerRename gives a container another name.
func (c *Client) ContainerRename(ctx context.Context, name string, o ContainerRenameOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "rename", url.Values{"name": {o.NewName}})
}

// ContainerResizeOptions are the size of a terminal in characters.
type ContainerResizeOptions struct{ Height, Width uint }

func (o ContainerResizeOptions) query() url.Values {
	return url.Values{"h": {strconv.FormatUint(uint64(o.Height), 10)}, "w": {strconv.FormatUint(uint64(o.Width), 10)}}
}

// ContainerResize sets the size of the container's terminal.
func (c *Client) ContainerResize(ctx context.Context, name string, o ContainerResizeOptions) (struct{}, error) {
	return c.containerVerb(ctx, name, "resize", o.query())
}

// ContainerRemoveOptions say what goes along with the container.
type ContainerRemoveOptions struct{ RemoveVolumes, RemoveLinks, Force bool }

// ContainerRemove removes a container.
func (c *Client) ContainerRemove(ctx context.Context, name string, o ContainerRemoveOptions) (struct{}, error) {
	name, err := checked("container", name)
	if err != nil {
		return struct{}{}, err
	}
	q := url.Values{}
	flag(q, "v", o.RemoveVolumes)
	flag(q, "link", o.RemoveLinks)
	flag(q, "force", o.Force)
	return struct{}{}, c.send(ctx, del("/containers/"+name, q))
}

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

// ContainerPruneOptions select stopped containers.
type ContainerPruneOptions struct{ Filters Filters }

// ContainerPruneResult is what was removed.
type ContainerPruneResult struct{ Report container.PruneReport }

// ContainerPrune removes stopped containers.
func (c *Client) ContainerPrune(ctx context.Context, o ContainerPruneOptions) (ContainerPruneResult, error) {
	got, err := fetch[container.PruneReport](ctx, c, post("/containers/prune", o.Filters.query(), nil))
	return ContainerPruneResult{Report: got}, err
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

// ContainerUpdateOptions are the limits and the policy to change.
type ContainerUpdateOptions struct {
	Resources     *container.Resources
	RestartPolicy *container.RestartPolicy
}

// ContainerUpdateResult holds what the daemon had to say.
type ContainerUpdateResult struct{ Warnings []string }

// ContainerUpdate changes a container's limits.
func (c *Client) ContainerUpdate(ctx context.Context, name string, o ContainerUpdateOptions) (ContainerUpdateResult, error) {
	name, err := checked("container", name)
	if err != nil {
		return ContainerUpdateResult{}, err
	}
	var u container.UpdateConfig
	if o.Resources != nil {
		u.Resources = *o.Resources
	}
	if o.RestartPolicy != nil {
		u.RestartPolicy = *o.RestartPolicy
	}
	got, err := fetch[container.UpdateResponse](ctx, c, post("/containers/"+name+"/update", nil, u))
	return ContainerUpdateResult{Warnings: got.Warnings}, err
}

// ContainerWaitOptions name what is waited for.
type ContainerWaitOptions struct{ Condition container.WaitCondition }

// ContainerWaitResult delivers one value on one of its channels.
type ContainerWaitResult struct {
	Result <-chan container.WaitResponse
	Error  <-chan error
}

// ContainerWait registers a wait; when it returns, the daemon has it.
func (c *Client) ContainerWait(ctx context.Context, name string, o ContainerWaitOptions) ContainerWaitResult {
	result, failed := make(chan container.WaitResponse, 1), make(chan error, 1)
	out := ContainerWaitResult{Result: result, Error: failed}
	name, err := checked("container", name)
	if err != nil {
		failed <- err
		return out
	}
	q := url.Values{}
	text(q, "condition", string(o.Condition))
	resp, err := c.do(ctx, post("/containers/"+name+"/wait", q, nil))
	if err != nil {
		failed <- err
		return out
	}
	go func() {
		defer finish(resp.Body)
		var w container.WaitResponse
		if err := json.NewDecoder(resp.Body).Decode(&w); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			failed <- connectionError{err}
			return
		}
		result <- w
	}()
	return out
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
