package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/checkpoint"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/event"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/transfer"
	"github.com/sampan-containers/sampan/server"
	containerroutes "github.com/sampan-containers/sampan/server/container"
	execroutes "github.com/sampan-containers/sampan/server/exec"
	imageroutes "github.com/sampan-containers/sampan/server/image"
	networkroutes "github.com/sampan-containers/sampan/server/network"
	systemroutes "github.com/sampan-containers/sampan/server/system"
)

// engine is a stand-in for the services. It knows the container "web" and, with
// a terminal, "tty", and records what it was asked.
type engine struct {
	mu      sync.Mutex
	created container.CreateOptions
	stopped container.StopOptions
	removed container.RemoveOptions
	listed  container.ListOptions
	logged  container.LogsOptions
	signal  string
	renamed string
	psArgs  string
	counted container.StatsOptions
	updated api.UpdateConfig
	pruned  container.Filters
	until   time.Time
	size    [2]uint32
	execs   api.ExecCreateRequest
	run     container.ExecStartOptions
	content []byte // of the last import
	import_ image.ImportOptions
	pulled  string
	ended   chan container.WaitResult
	waits   chan string // conditions of registered waits
	follow  chan string // lines of a followed log
	left    chan string // what a client's going ended
}

var webID = strings.Repeat("ab", 32)

func (e *engine) find(ref string) error {
	if ref != "web" && ref != "tty" && ref != webID {
		return fault.New(fault.NotFound, "No such container: %s", ref)
	}
	return nil
}

func (e *engine) Announce() string { return "" }

func (e *engine) Create(_ context.Context, o container.CreateOptions) (string, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.Config.Image == "nope" {
		return "", nil, fault.New(fault.NotFound, "No such image: nope:latest")
	}
	e.created = o
	return webID, nil, nil
}
func (e *engine) Start(_ context.Context, ref string) error { return e.find(ref) }
func (e *engine) Stop(_ context.Context, ref string, o container.StopOptions) error {
	e.stopped = o
	if ref == "tty" {
		return fault.New(fault.NotModified, "container tty is not running")
	}
	return e.find(ref)
}
func (e *engine) Restart(_ context.Context, ref string, o container.StopOptions) error {
	e.stopped = o
	return e.find(ref)
}
func (e *engine) Kill(_ context.Context, ref, signal string) error {
	e.signal = signal
	return e.find(ref)
}
func (e *engine) Wait(ctx context.Context, ref, condition string) (<-chan container.WaitResult, error) {
	if err := e.find(ref); err != nil {
		return nil, err
	}
	e.waits <- condition
	context.AfterFunc(ctx, func() { e.left <- "wait" })
	return e.ended, nil
}
func (e *engine) Remove(_ context.Context, ref string, o container.RemoveOptions) error {
	e.removed = o
	return e.find(ref)
}
func (e *engine) List(_ context.Context, o container.ListOptions) ([]api.Summary, error) {
	e.listed = o
	if o.All {
		return []api.Summary{{ID: webID, Names: []string{"/web"}, Image: "app", State: api.StateRunning, Status: "Up 1 second"}}, nil
	}
	return nil, nil
}
func (e *engine) Inspect(_ context.Context, ref string, _ bool) (*api.InspectResponse, error) {
	if err := e.find(ref); err != nil {
		return nil, err
	}
	return &api.InspectResponse{
		ID: webID, Name: "/" + ref, Driver: "overlay2", State: &api.State{Status: api.StateRunning, Running: true},
		Config: &api.Config{Tty: ref == "tty", OpenStdin: true, AttachStdout: true}, HostConfig: &api.HostConfig{}, NetworkSettings: &api.NetworkSettings{},
	}, nil
}
func (e *engine) Pause(_ context.Context, ref string) error {
	if ref == "tty" {
		return fault.New(fault.Conflict, "container tty is already paused")
	}
	return e.find(ref)
}
func (e *engine) Unpause(_ context.Context, ref string) error {
	if ref == "tty" {
		return fmt.Errorf("container tty is not paused")
	}
	return e.find(ref)
}
func (e *engine) CheckpointCreate(_ context.Context, ref string, o checkpoint.CreateRequest) error {
	if err := e.find(ref); err != nil || o.CheckpointID != "" {
		return err
	}
	return fault.New(fault.Invalid, "no name")
}
func (e *engine) CheckpointList(ref, dir string) ([]checkpoint.Summary, error) {
	return []checkpoint.Summary{{Name: "c1"}}, e.find(ref)
}
func (e *engine) CheckpointRemove(ref, dir, name string) error {
	_, err := e.CheckpointImages(ref, dir, name)
	return err
}
func (e *engine) CheckpointImages(ref, dir, name string) (string, error) {
	if name != "c1" {
		return "", fault.New(fault.NotFound, "checkpoint %s does not exist for container %s", name, ref)
	}
	return "/images", e.find(ref)
}
func (e *engine) StartFrom(ctx context.Context, ref, images string) error { return e.Start(ctx, ref) }
func (e *engine) Rename(_ context.Context, ref, name string) error {
	if name == "" {
		return fault.New(fault.Invalid, "Neither old nor new names may be empty")
	}
	e.renamed = name
	return e.find(ref)
}
func (e *engine) Top(_ context.Context, ref, options string) (*api.TopResponse, error) {
	e.psArgs = options
	return &api.TopResponse{Titles: []string{"PID"}, Processes: [][]string{{"7"}}}, e.find(ref)
}
func (e *engine) Stats(ctx context.Context, ref string, o container.StatsOptions, emit func(*container.StatsSample) error) error {
	e.counted = o
	if err := e.find(ref); err != nil {
		return err
	}
	for {
		if err := emit(&container.StatsSample{StatsResponse: api.StatsResponse{ID: webID, Name: "/web", OSType: "linux"}}); err != nil || !o.Stream {
			return err
		}
		select {
		case <-ctx.Done():
			e.left <- "stats"
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
func (e *engine) Update(_ context.Context, ref string, u *api.UpdateConfig) ([]string, error) {
	e.updated = *u
	return nil, e.find(ref)
}
func (e *engine) ChangePorts(_ context.Context, ref string, c membership.PortChange) error {
	if len(c.Add) != 1 || len(c.Remove) != 1 {
		return fault.New(fault.Invalid, "%d and %d ports", len(c.Add), len(c.Remove))
	}
	return nil
}
func (e *engine) Prune(_ context.Context, f container.Filters, until time.Time, _ bool) (*api.PruneReport, error) {
	e.pruned, e.until = f, until
	return &api.PruneReport{ContainersDeleted: []string{webID}, SpaceReclaimed: 5}, nil
}
func (e *engine) TTY(ref string) (bool, error) { return ref == "tty", e.find(ref) }
func (e *engine) Logs(ctx context.Context, ref string, o container.LogsOptions, emit func(string, []byte) error) error {
	e.logged = o
	if !o.Since.IsZero() {
		return fault.New(fault.NotImplemented, "configured logging driver does not support reading")
	}
	for _, l := range []struct{ stream, line string }{{"stdout", "out\n"}, {"stderr", "err\n"}} {
		if err := emit(l.stream, []byte(l.line)); err != nil {
			return err
		}
	}
	for o.Follow {
		select {
		case line, ok := <-e.follow:
			if !ok {
				return fmt.Errorf("the log file is broken")
			}
			if err := emit("stdout", []byte(line)); err != nil {
				return err
			}
		case <-ctx.Done():
			e.left <- "logs"
			return ctx.Err()
		}
	}
	return nil
}
func (e *engine) Attach(_ context.Context, ref string, o container.AttachOptions) error {
	if err := e.find(ref); err != nil {
		return err
	}
	conn, ahead, err := o.Hijack(ref == "tty")
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write(append([]byte("attached "), ahead...))
	return err
}
func (e *engine) Resize(_ context.Context, ref string, h, w uint32) error {
	e.size = [2]uint32{h, w}
	return e.find(ref)
}
func (e *engine) ExecCreate(_ context.Context, ref string, r *api.ExecCreateRequest) (string, error) {
	e.execs = *r
	return "e1", e.find(ref)
}
func (e *engine) ExecStart(_ context.Context, id string, o container.ExecStartOptions) error {
	e.run = o
	if id != "e1" {
		return fault.New(fault.NotFound, "No such exec instance: %s", id)
	}
	if o.Detach {
		return nil
	}
	conn, _, err := o.Hijack(o.Tty)
	if err != nil {
		return err
	}
	defer conn.Close()
	text := "hi\n"
	if !o.Tty {
		text = "\x01\x00\x00\x00\x00\x00\x00\x03" + text
	}
	_, err = io.WriteString(conn, text)
	return err
}
func (e *engine) ExecResize(_ context.Context, id string, h, w uint32) error {
	e.size = [2]uint32{h, w}
	return nil
}
func (e *engine) ExecInspect(_ context.Context, id string) (*api.ExecInspectResponse, error) {
	if id != "e1" {
		return nil, fault.New(fault.NotFound, "No such exec instance: %s", id)
	}
	code := 7
	return &api.ExecInspectResponse{ID: id, ExitCode: &code, ProcessConfig: &api.ExecProcessConfig{}}, nil
}
func (e *engine) Counts() (total, running, paused, stopped int) { return 3, 1, 0, 2 }

// images is the image side, whose method names collide with the containers'.
type images struct{ *engine }

func (images) List(context.Context, image.ListOptions) ([]apiimage.Summary, error) {
	return []apiimage.Summary{{ID: "sha256:" + strings.Repeat("cd", 32), RepoTags: []string{"app:latest"}, Size: 5}}, nil
}
func (images) Inspect(_ context.Context, ref string) (*apiimage.InspectResponse, error) {
	if ref != "reg.example/a/app:1" && ref != "app" {
		return nil, fault.New(fault.NotFound, "No such image: %s", ref)
	}
	return &apiimage.InspectResponse{ID: "sha256:1", Os: "linux", Architecture: "amd64"}, nil
}
func (images) History(context.Context, string) ([]apiimage.HistoryResponseItem, error) {
	return []apiimage.HistoryResponseItem{{ID: "sha256:1"}}, nil
}
func (images) Tag(context.Context, string, string, string) error { return nil }
func (images) Delete(_ context.Context, ref string, force, prune bool) ([]apiimage.DeleteResponse, error) {
	return []apiimage.DeleteResponse{{Untagged: fmt.Sprint(ref, force, prune)}}, nil
}
func (i images) Import(_ context.Context, r io.Reader, o image.ImportOptions, progress io.Writer) (digest.Digest, error) {
	var err error
	if i.content, err = io.ReadAll(r); err != nil {
		return "", err
	}
	i.import_ = o
	if strings.HasPrefix(string(i.content), "broken") {
		return "", fault.New(fault.Invalid, "import: unexpected EOF in the tar")
	}
	_, _ = io.WriteString(progress, `{"status":"reading"}`+"\r\n")
	if strings.HasPrefix(string(i.content), "late") {
		return "", fault.New(fault.Invalid, "import: bad entry")
	}
	_, err = io.WriteString(progress, `{"status":"sha256:1"}`+"\r\n")
	return "sha256:1", err
}
func (i images) Pull(_ context.Context, name string, o transfer.PullOptions, _ io.Writer) error {
	i.pulled = name + ":" + o.Tag
	if name == "unreachable" {
		return fault.New(fault.Unavailable, "pull %s: connection refused", name)
	}
	return fault.New(fault.NotImplemented, "pull %s: not yet", name)
}
func (i images) Push(_ context.Context, name string, o transfer.PushOptions, progress io.Writer) error {
	i.pulled = o.Login.Username + " pushes " + name + ":" + o.Tag
	if _, err := io.WriteString(progress, `{"status":"pushing"}`+"\r\n"); err != nil {
		return err
	}
	return fault.New(fault.Unavailable, "push %s: too late", name)
}
func (images) Count() int { return 4 }

type networks struct{}

func (networks) Networks() []apinetwork.Inspect {
	var all []apinetwork.Inspect
	for name, driver := range map[string]string{"bridge": "bridge", "none": "null"} {
		all = append(all, apinetwork.Inspect{Network: apinetwork.Network{Name: name, ID: name + "id", Driver: driver, Scope: "local"}})
	}
	return all
}
func (n networks) Inspect(ref string) (*apinetwork.Inspect, error) {
	for _, i := range n.Networks() {
		if i.Name == ref {
			return &i, nil
		}
	}
	return nil, fault.New(fault.NotFound, "network %s not found", ref)
}
func (networks) Create(_ context.Context, r apinetwork.CreateRequest) (*apinetwork.Inspect, error) {
	return &apinetwork.Inspect{Network: apinetwork.Network{Name: r.Name, ID: r.Name + "id", Driver: "bridge"}}, nil
}
func (n networks) Remove(_ context.Context, ref string) (*apinetwork.Inspect, error) {
	return n.Inspect(ref)
}
func (n networks) Prune(_ context.Context, match func(*apinetwork.Inspect) bool, _ bool) (gone []apinetwork.Inspect, err error) {
	for _, i := range n.Networks() {
		if match(&i) {
			gone = append(gone, i)
		}
	}
	return gone, nil
}
func (networks) NetworkConnect(_ context.Context, c, n string, es *apinetwork.EndpointSettings) error {
	if es == nil || len(es.Aliases) != 1 {
		return fault.New(fault.Invalid, "no alias")
	}
	return nil
}
func (networks) NetworkDisconnect(_ context.Context, c, n string, force bool) error {
	if !force {
		return fault.New(fault.Invalid, "no force")
	}
	return nil
}

// start serves the fakes on a socket.
func start(t *testing.T) (e *engine, bus *event.Bus, socket string, client *http.Client) {
	t.Helper()
	e = &engine{ended: make(chan container.WaitResult, 1), waits: make(chan string, 8), follow: make(chan string), left: make(chan string, 8)}
	bus = event.New()
	s := server.New(server.Config{Version: "1.2.3"})
	containerroutes.Register(s, e)
	execroutes.Register(s, e)
	imageroutes.Register(s, images{e}, images{e}, images{e}, images{e})
	networkroutes.Register(s, networks{}, networks{}, bus)
	systemroutes.Register(s, systemroutes.Config{
		ID: "ID", Root: t.TempDir(), Version: "1.2.3", Commit: "abc", StorageDriver: "overlay2", BuilderVersion: "1",
		LoggingDriver: "json-file", CgroupDriver: "cgroupfs", Firewall: "nftables",
	}, e, images{e}, bus)
	socket = filepath.Join(t.TempDir(), "api.sock")
	l, err := server.Listen("unix://"+socket, server.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l[0]) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return e, bus, socket, &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// ask sends a request with a JSON body and returns status and body.
func ask(t *testing.T, c *http.Client, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://d"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestRoutes(t *testing.T) {
	_, _, _, c := start(t)
	cases := []struct {
		method, path, body string
		code               int
		want               string // the whole body, or a part of it after "…"
	}{
		{"POST", "/v1.41/containers/create?name=web", `{"Image":"app","Cmd":["a"]}`, 201, `{"Id":"` + webID + `","Warnings":[]}`},
		{"POST", "/v1.41/containers/create", `{"Image":"nope"}`, 404, `{"message":"No such image: nope:latest"}`},
		{"POST", "/v1.41/containers/create", ``, 400, `{"message":"invalid JSON: got EOF while reading request body"}`},
		{"POST", "/v1.41/containers/create", `{}`, 400, `{"message":"config cannot be empty in order to create a container"}`},
		{"POST", "/v1.41/containers/create", `{"Image":5}`, 400, `…field Config.Image must be a string`},
		{"POST", "/v1.41/containers/create", `{"Image":"app","HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"x"}]}}}`, 400, `…invalid JSON`},
		{"GET", "/v1.41/containers/json", ``, 200, `[]`},
		{"GET", "/v1.56/containers/json", ``, 200, `[]`},
		{"GET", "/v1.41/containers/json?filters=garbage", ``, 400, `…invalid filter`},
		{"GET", "/v1.41/containers/json?limit=x", ``, 400, `…invalid value`},
		{"GET", "/v1.41/containers/nope/json", ``, 404, `{"message":"No such container: nope"}`},
		{"POST", "/v1.41/containers/web/start", ``, 204, ``},
		{"POST", "/v1.41/containers/web/start", `{"Binds":[]}`, 400, `…non-empty request body`},
		{"POST", "/v1.41/containers/web/start?checkpoint=c1", ``, 204, ``},
		{"POST", "/v1.41/containers/web/start?checkpoint=c2", ``, 404, `…checkpoint c2 does not exist`},
		{"POST", "/v1.41/containers/nope/start", ``, 404, `{"message":"No such container: nope"}`},
		{"POST", "/v1.41/containers/web/stop?t=5", ``, 204, ``},
		{"POST", "/v1.41/containers/tty/stop", ``, 304, ``},
		{"POST", "/v1.41/containers/web/stop?t=x", ``, 400, `…invalid value`},
		{"POST", "/v1.41/containers/web/restart", ``, 204, ``},
		{"POST", "/v1.41/containers/web/kill?signal=HUP", ``, 204, ``},
		{"POST", "/v1.41/containers/nope/kill", ``, 404, `{"message":"cannot kill container: nope: No such container: nope"}`},
		{"POST", "/v1.41/containers/web/wait?condition=soon", ``, 400, `{"message":"invalid condition: \"soon\""}`},
		{"POST", "/v1.41/containers/nope/wait", ``, 404, `{"message":"No such container: nope"}`},
		{"POST", "/v1.41/containers/web/resize?h=10&w=20", ``, 200, ``},
		{"POST", "/v1.41/containers/web/resize?h=x&w=20", ``, 400, `…invalid resize height`},
		{"GET", "/v1.41/containers/web/logs", ``, 400, `{"message":"Bad parameters: you must choose at least one stream"}`},
		{"GET", "/v1.41/containers/web/logs?stdout=1&tail=x", ``, 400, `…tail`},
		{"GET", "/v1.41/containers/web/logs?stdout=1&until=x", ``, 400, `…until`},
		{"GET", "/v1.41/containers/nope/logs?stdout=1", ``, 404, `{"message":"No such container: nope"}`},
		{"GET", "/v1.41/containers/web/logs?stdout=1&since=5", ``, 501, `…does not support reading`},
		{"DELETE", "/v1.41/containers/web?force=1&v=1", ``, 204, ``},
		{"DELETE", "/v1.41/containers/json", ``, 404, `{"message":"No such container: json"}`},
		{"POST", "/v1.41/containers/web/exec", `{"Cmd":["a"]}`, 201, `{"Id":"e1"}`},
		{"POST", "/v1.41/containers/web/exec", `{"Cmd":[]}`, 400, `{"message":"No exec command specified"}`},
		{"POST", "/v1.41/exec/e1/start", `{"Detach":true}`, 200, ``},
		{"POST", "/v1.41/exec/nope/start", `{}`, 404, `{"message":"No such exec instance: nope"}`},
		{"POST", "/v1.41/exec/e1/resize?h=1&w=2", ``, 200, ``},
		{"GET", "/v1.41/exec/e1/json", ``, 200, `…"ExitCode":7`},
		{"GET", "/v1.41/images/json", ``, 200, `…"VirtualSize":5`},
		{"GET", "/v1.44/images/json", ``, 200, `…"Size":5`},
		{"GET", `/v1.41/images/json?filters={"nope":["x"]}`, ``, 400, `{"message":"invalid filter 'nope'"}`},
		{"GET", "/v1.41/images/reg.example/a/app:1/json", ``, 200, `…"Id":"sha256:1"`},
		{"GET", `/v1.49/images/app/json?platform={"os":"linux","architecture":"arm64"}`, ``, 404, `…linux/arm64`},
		{"GET", `/v1.49/images/app/json?platform={"os":"linux","architecture":"amd64"}`, ``, 200, `…sha256:1`},
		{"GET", "/v1.41/images/app/history", ``, 200, `…sha256:1`},
		{"POST", "/v1.41/images/app/tag?repo=x/y&tag=z", ``, 201, ``},
		{"POST", "/v1.41/images/app/tag?repo=BAD", ``, 400, `…must be lowercase`},
		{"POST", "/v1.41/images/app/tag?repo=x&tag=:", ``, 400, `…is no image tag`},
		{"DELETE", "/v1.41/images/a/b:c?force=1&noprune=1", ``, 200, `…a/b:ctrue false`},
		{"POST", "/v1.41/images/create?fromImage=debian&tag=12", ``, 501, `…pull debian`},
		{"POST", "/v1.41/images/create?fromImage=unreachable&tag=1", ``, 500, `…connection refused`},
		{"POST", "/v1.41/images/quay.io/team/web/push?tag=1", ``, 200, `…push quay.io/team/web: too late`},
		{"POST", "/v1.41/images/create", ``, 400, `…fromSrc`},
		{"POST", "/v1.41/images/create?fromSrc=file:///etc/passwd", ``, 400, `…file:///etc/passwd`},
		{"GET", "/v1.41/networks", ``, 200, `…"Name":"bridge"`},
		{"GET", `/v1.41/networks?filters={"name":["bri"]}`, ``, 200, `…[{"Name":"bridge"`},
		{"GET", `/v1.41/networks?filters={"type":["custom"]}`, ``, 200, `[]`},
		{"GET", `/v1.41/networks?filters={"type":["x"]}`, ``, 400, `…builtin or custom`},
		{"GET", "/v1.41/networks/bridge", ``, 200, `…"Containers":{}`},
		{"GET", "/v1.41/networks/nope", ``, 404, `{"message":"network nope not found"}`},
		{"POST", "/v1.41/networks/create", `{"Name":"mine"}`, 201, `{"Id":"mineid","Warning":""}`},
		{"POST", "/v1.41/sampan/containers/web/ports", `{"Add":{"80/tcp":[{"HostPort":"8080"}]},"Remove":{"81/udp":null}}`, 204, ``},
		{"POST", "/v1.41/sampan/containers/web/ports", `{"Add":{"x":null}}`, 400, `…`},
		{"DELETE", "/v1.41/networks/nope", ``, 404, `{"message":"network nope not found"}`},
		{"DELETE", "/v1.41/networks/bridge", ``, 204, ``},
		{"POST", "/v1.41/networks/mine/connect", `{"Container":"web","EndpointConfig":{"Aliases":["www"]}}`, 200, ``},
		{"POST", "/v1.41/networks/mine/connect", `{}`, 400, `…no container is named`},
		{"POST", "/v1.41/networks/mine/disconnect", `{"Container":"web","Force":true}`, 200, ``},
		{"POST", "/v1.41/networks/mine/disconnect", `{"Container":"web"}`, 400, `{"message":"no force"}`},
		{"POST", `/v1.41/networks/prune?filters={"label!":["keep"]}`, ``, 200, `…"NetworksDeleted":["`},
		{"POST", `/v1.41/networks/prune?filters={"until":["24h"],"label":["x"]}`, ``, 200, `{"NetworksDeleted":[]}`},
		{"GET", "/v1.41/events?since=10&until=5", ``, 400, "{\"message\":\"`since` time (10) cannot be after `until` time (5)\"}"},
		{"GET", "/v1.41/events?since=x", ``, 400, `…invalid value`},
		{"GET", `/v1.41/events?filters={"nope":["x"]}`, ``, 400, `{"message":"invalid filter 'nope'"}`},
		{"POST", "/v1.41/containers/web/pause", ``, 204, ``},
		{"POST", "/v1.41/containers/tty/pause", ``, 409, `{"message":"container tty is already paused"}`},
		{"POST", "/v1.41/containers/nope/pause", ``, 404, `{"message":"No such container: nope"}`},
		{"POST", "/v1.41/containers/web/unpause", ``, 204, ``},
		{"POST", "/v1.41/containers/tty/unpause", ``, 500, `{"message":"container tty is not paused"}`},
		{"POST", "/v1.41/containers/web/rename?name=other", ``, 204, ``},
		{"POST", "/v1.41/containers/web/rename", ``, 400, `{"message":"Neither old nor new names may be empty"}`},
		{"GET", "/v1.41/containers/web/top?ps_args=aux", ``, 200, `{"Processes":[["7"]],"Titles":["PID"]}`},
		{"GET", "/v1.41/containers/nope/top", ``, 404, `{"message":"No such container: nope"}`},
		{"GET", "/v1.41/containers/web/stats?stream=0", ``, 200, `…"name":"/web"`},
		{"GET", "/v1.41/containers/web/stats?stream=0&one-shot=1", ``, 200, `…"name":"/web"`},
		{"GET", "/v1.41/containers/web/stats?one-shot=1", ``, 200, `…"name":"/web"`},
		{"GET", "/v1.41/containers/web/stats?stream=1&one-shot=1", ``, 400, `{"message":"cannot have stream=true and one-shot=true"}`},
		{"GET", "/v1.52/containers/web/stats?stream=0", ``, 200, `…"os_type":"linux"`},
		{"GET", "/v1.41/containers/nope/stats", ``, 404, `{"message":"No such container: nope"}`},
		{"POST", "/v1.41/containers/web/update", `{"Memory":67108864,"PidsLimit":-1}`, 200, `{"Warnings":null}`},
		{"POST", "/v1.41/containers/web/update", `{"KernelMemory":1}`, 200, `…Kernel memory limits were dropped`},
		{"POST", "/v1.41/containers/web/update", ``, 400, `…EOF`},
		{"POST", "/v1.41/containers/web/update", `{"Memory":"x"}`, 400, `…Memory must be a whole number`},
		{"POST", "/v1.41/containers/nope/update", `{}`, 404, `{"message":"No such container: nope"}`},
		{"POST", `/v1.41/containers/prune?filters={"label":["a"],"until":["24h"]}`, ``, 200, `…"SpaceReclaimed":5`},
		{"POST", `/v1.41/containers/prune?filters={"until":["soon"]}`, ``, 400, `…invalid filter 'until=soon'`},
		{"POST", `/v1.41/containers/prune?filters={"until":["1h","2h"]}`, ``, 400, `…more than one until filter`},
		{"POST", `/v1.41/containers/prune?filters={"name":["x"]}`, ``, 400, `{"message":"invalid filter 'name'"}`},
		{"GET", "/v1.41/containers/web/checkpoints", ``, 200, `[{"Name":"c1"}]`},
		{"GET", "/v1.41/containers/nope/checkpoints", ``, 404, `{"message":"No such container: nope"}`},
		{"POST", "/v1.41/containers/web/checkpoints", `{"CheckpointID":"c3","Exit":true}`, 201, ``},
		{"POST", "/v1.41/containers/web/checkpoints", ``, 400, `…EOF`},
		{"POST", "/v1.41/containers/nope/checkpoints", `{"CheckpointID":"c3"}`, 404, `{"message":"No such container: nope"}`},
		{"DELETE", "/v1.41/containers/web/checkpoints/c1", ``, 204, ``},
		{"DELETE", "/v1.41/containers/web/checkpoints/c2", ``, 404, `…checkpoint c2 does not exist`},
		{"POST", "/v1.41/build", ``, 501, `…POST /build (`},
		{"GET", "/v1.41/nothing", ``, 404, `{"message":"page not found"}`},
	}
	for _, tc := range cases {
		t.Run(tc.method+tc.path, func(t *testing.T) {
			path := strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22").Replace(tc.path)
			code, body := ask(t, c, tc.method, path, tc.body)
			part, inside := strings.CutPrefix(tc.want, "…")
			body = strings.TrimSuffix(body, "\n")
			if code != tc.code || !inside && body != tc.want || inside && !strings.Contains(body, part) {
				t.Errorf("%d %s\nwant %d %s", code, body, tc.code, tc.want)
			}
		})
	}
}

func TestOptionsReachTheService(t *testing.T) {
	e, _, _, c := start(t)
	ask(t, c, "POST", "/v1.42/containers/web/stop?t=-1&signal=INT", "")
	if e.stopped.Signal != "INT" || e.stopped.Timeout == nil || *e.stopped.Timeout != -1 {
		t.Errorf("stop: %+v", e.stopped)
	}
	ask(t, c, "POST", "/v1.41/containers/web/stop?signal=INT", "")
	if e.stopped.Signal != "" || e.stopped.Timeout != nil {
		t.Errorf("stop before 1.42 has no signal: %+v", e.stopped)
	}
	ask(t, c, "POST", "/v1.41/containers/web/kill?signal=HUP", "")
	if e.signal != "HUP" {
		t.Errorf("kill: %q", e.signal)
	}
	ask(t, c, "DELETE", "/v1.41/containers/web?force=1&v=true&link=0", "")
	if e.removed != (container.RemoveOptions{Force: true, Volumes: true}) {
		t.Errorf("remove: %+v", e.removed)
	}
	ask(t, c, "GET", "/v1.41/containers/json?all=1&size=1&limit=3&since=a&filters=%7B%22name%22%3A%7B%22x%22%3Atrue%7D%7D", "")
	if l := e.listed; !l.All || !l.Size || l.Limit != 3 || fmt.Sprint(l.Filters) != "map[name:[x] since:[a]]" {
		t.Errorf("list: %+v", l)
	}
	ask(t, c, "GET", "/v1.41/containers/web/logs?stdout=1&timestamps=1&details=1&tail=5&until=7.5", "")
	if l := e.logged; !l.Stdout || l.Stderr || !l.Timestamps || !l.Details || l.Tail != 5 || !l.Until.Equal(time.Unix(7, 5e8)) || l.Follow {
		t.Errorf("logs: %+v", l)
	}
	ask(t, c, "GET", "/v1.41/containers/web/logs?stderr=1&tail=all", "")
	if e.logged.Tail != -1 {
		t.Errorf("all lines: %+v", e.logged)
	}
	ask(t, c, "POST", "/v1.41/containers/web/resize?h=24&w=80", "")
	if e.size != [2]uint32{24, 80} {
		t.Errorf("resize: %v", e.size)
	}
	ask(t, c, "POST", "/v1.41/containers/web/exec", `{"Cmd":["a","b"],"User":"u","ConsoleSize":[1,2]}`)
	if e.execs.User != "u" || len(e.execs.Cmd) != 2 || e.execs.ConsoleSize != nil {
		t.Errorf("exec before 1.42: %+v", e.execs)
	}
	ask(t, c, "POST", "/v1.42/containers/web/exec", `{"Cmd":["a"],"ConsoleSize":[1,2]}`)
	if e.execs.ConsoleSize == nil {
		t.Errorf("exec at 1.42: %+v", e.execs)
	}
}

func TestCreateInOlderVersions(t *testing.T) {
	e, _, _, c := start(t)
	create := func(v, body string) (int, string) {
		return ask(t, c, "POST", "/v"+v+"/containers/create?platform=linux/arm64", body)
	}
	if code, _ := create("1.41", `{"Image":"app","Cmd":"one string","Entrypoint":""}`); code != 201 || len(e.created.Config.Cmd) != 1 || len(e.created.Config.Entrypoint) != 1 || e.created.Platform != "linux/arm64" {
		t.Errorf("commands as strings: %+v", e.created.Config)
	}
	if create("1.41", `{"Image":"app","Entrypoint":null}`); e.created.Config.Entrypoint != nil {
		t.Errorf("null entrypoint: %q", e.created.Config.Entrypoint)
	}
	if create("1.41", `{"Image":"app","Entrypoint":[]}`); e.created.Config.Entrypoint == nil || len(e.created.Config.Entrypoint) != 0 {
		t.Errorf("empty entrypoint: %#v", e.created.Config.Entrypoint)
	}
	if create("1.40", `{"Image":"app"}`); e.created.Platform != "" {
		t.Errorf("1.40 had no platform: %q", e.created.Platform)
	}
	if create("1.39", `{"Image":"app"}`); e.created.HostConfig.IpcMode != api.IPCModeShareable {
		t.Errorf("ipc before 1.40: %q", e.created.HostConfig.IpcMode)
	}
	if create("1.24", `{"Image":"app","HostConfig":{"AutoRemove":true}}`); e.created.HostConfig.AutoRemove {
		t.Error("auto-remove before 1.25")
	}
	if create("1.41", `{"Image":"app","HostConfig":{"PidsLimit":-1,"ConsoleSize":[1,2],"Annotations":{"a":"b"}}}`); *e.created.HostConfig.PidsLimit != -1 || e.created.HostConfig.ConsoleSize != [2]uint{} || e.created.HostConfig.Annotations != nil {
		t.Errorf("newer fields before their time: %+v", e.created.HostConfig)
	}
	if create("1.41", `{"Image":"app","MacAddress":"02:42:ac:11:00:10"}`); e.created.NetworkingConfig.EndpointsConfig["bridge"].MacAddress.String() != "02:42:ac:11:00:10" {
		t.Errorf("the container-wide address: %+v", e.created.NetworkingConfig)
	}
	if code, body := create("1.44", `{"Image":"app","MacAddress":"02:42:ac:11:00:10"}`); code != 201 || !strings.Contains(body, "deprecated") {
		t.Errorf("the container-wide address at 1.44: %d %s", code, body)
	}
	for what, tc := range map[string][2]string{
		"removed MAC address":   {"1.52", `{"Image":"app","MacAddress":"02:42:ac:11:00:10"}`},
		"malformed MAC address": {"1.41", `{"Image":"app","MacAddress":"x"}`},
		"MAC address with host": {"1.41", `{"Image":"app","MacAddress":"02:42:ac:11:00:10","HostConfig":{"NetworkMode":"host"}}`},
		"two networks":          {"1.43", `{"Image":"app","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}`},
		"misplaced options":     {"1.42", `{"Image":"app","HostConfig":{"Mounts":[{"Type":"bind","VolumeOptions":{}}]}}`},
		"image mount too early": {"1.47", `{"Image":"app","HostConfig":{"Mounts":[{"Type":"image"}]}}`},
		"recursion too early":   {"1.43", `{"Image":"app","HostConfig":{"Mounts":[{"Type":"bind","ReadOnly":true,"BindOptions":{"ReadOnlyForceRecursive":true}}]}}`},
	} {
		if code, body := create(tc[0], tc[1]); code != 400 {
			t.Errorf("%s: %d %s", what, code, body)
		}
	}
	if code, _ := create("1.41", `{"Image":"app","HostConfig":{"Mounts":[{"Type":"bind","ReadOnly":true,"VolumeOptions":{}}]}}`); code != 201 || !e.created.HostConfig.Mounts[0].BindOptions.ReadOnlyNonRecursive || e.created.HostConfig.Mounts[0].VolumeOptions != nil {
		t.Errorf("mounts before 1.42: %d %+v", code, e.created.HostConfig.Mounts)
	}
	if _, body := create("1.41", `{"Image":"app","HostConfig":{"KernelMemory":5}}`); !strings.Contains(body, "KernelMemory was removed") {
		t.Errorf("kernel memory: %s", body)
	}
	if create("1.44", `{"Image":"app","NetworkingConfig":{"EndpointsConfig":{"default":{"Aliases":["x"]},"n":null}}}`); e.created.NetworkingConfig.EndpointsConfig["bridge"].Aliases[0] != "x" || e.created.NetworkingConfig.EndpointsConfig["n"] == nil {
		t.Errorf("default network: %+v", e.created.NetworkingConfig)
	}
}

func TestPing(t *testing.T) {
	_, _, _, c := start(t)
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{"/_ping", "/v1.24/_ping"} {
			req, _ := http.NewRequest(method, "http://d"+path, nil)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			want := map[string]string{
				"Api-Version": "1.56", "Ostype": "linux", "Docker-Experimental": "false", "Builder-Version": "1", "Swarm": "inactive",
				"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Server": "Sampan/1.2.3 (linux)",
				"Content-Type": "text/plain; charset=utf-8",
			}
			for k, v := range want {
				if got := resp.Header.Get(k); got != v {
					t.Errorf("%s %s: %s is %q, want %q", method, path, k, got, v)
				}
			}
			if method == "GET" && string(body) != "OK" || method == "HEAD" && resp.ContentLength != 0 {
				t.Errorf("%s %s: %q, length %d", method, path, body, resp.ContentLength)
			}
		}
	}
}

// The header of a wait must arrive while the container still runs.
func TestWait(t *testing.T) {
	e, _, _, c := start(t)
	post := func(path string) *http.Response {
		resp, err := c.Post("http://d"+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp := post("/v1.41/containers/web/wait?condition=next-exit")
	if got := <-e.waits; resp.StatusCode != 200 || got != "next-exit" {
		t.Errorf("%d, condition %q", resp.StatusCode, got)
	}
	e.ended <- container.WaitResult{StatusCode: 3}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "{\"Error\":null,\"StatusCode\":3}\n" {
		t.Errorf("at 1.41: %s", body)
	}
	e.ended <- container.WaitResult{StatusCode: 1, Error: "lost"}
	resp = post("/v1.56/containers/web/wait")
	body, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	if got := <-e.waits; string(body) != "{\"Error\":{\"Message\":\"lost\"},\"StatusCode\":1}\n" || got != "not-running" {
		t.Errorf("at 1.56: %s, condition %q", body, got)
	}
	e.ended <- container.WaitResult{StatusCode: 4}
	resp = post("/v1.29/containers/web/wait?condition=removed") // which 1.29 did not have
	body, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	if got := <-e.waits; string(body) != "{\"Error\":null,\"StatusCode\":4}\n" || got != "not-running" {
		t.Errorf("at 1.29: %s, condition %q", body, got)
	}
}

func TestLogs(t *testing.T) {
	e, _, _, c := start(t)
	cases := []struct{ path, contentType, want string }{
		{"/v1.41/containers/web/logs?stdout=1&stderr=1", "application/vnd.docker.raw-stream", "\x01\x00\x00\x00\x00\x00\x00\x04out\n\x02\x00\x00\x00\x00\x00\x00\x04err\n"},
		{"/v1.42/containers/web/logs?stdout=1&stderr=1", "application/vnd.docker.multiplexed-stream", "\x01\x00\x00\x00\x00\x00\x00\x04out\n\x02\x00\x00\x00\x00\x00\x00\x04err\n"},
		{"/v1.42/containers/tty/logs?stdout=1&stderr=1", "application/vnd.docker.raw-stream", "out\nerr\n"},
	}
	for _, tc := range cases {
		t.Run(tc.path, func(t *testing.T) {
			resp, err := c.Get("http://d" + tc.path)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != tc.want || resp.Header.Get("Content-Type") != tc.contentType {
				t.Errorf("%q %q %v", resp.Header.Get("Content-Type"), body, err)
			}
		})
	}
	t.Run("follow", func(t *testing.T) {
		resp, err := c.Get("http://d/v1.41/containers/tty/logs?stdout=1&follow=1")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		read := func(want string) {
			t.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("%q %v, want %q", got, err, want)
			}
		}
		read("out\nerr\n")
		e.follow <- "more\n" // arrives although nothing follows it
		read("more\n")
		close(e.follow)
		rest, err := io.ReadAll(resp.Body)
		if err != nil || string(rest) != "Error grabbing logs: the log file is broken\n" {
			t.Errorf("%q %v", rest, err)
		}
	})
}

// A client that goes away leaves nothing behind that waits for it.
func TestStreamsEndWithTheClient(t *testing.T) {
	e, bus, _, c := start(t)
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/v1.41/containers/web/logs?stdout=1&follow=1", "logs"},
		{"POST", "/v1.41/containers/web/wait", "wait"},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, tc.method, "http://d"+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		resp.Body.Close()
		select {
		case got := <-e.left:
			if got != tc.want {
				t.Errorf("%s ended, want %s", got, tc.want)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s goes on without its client", tc.want)
		}
	}
	resp, err := c.Get("http://d/v1.41/events")
	if err != nil {
		t.Fatal(err)
	}
	if bus.Subscribers() != 1 {
		t.Errorf("%d subscribers", bus.Subscribers())
	}
	resp.Body.Close()
	for deadline := time.Now().Add(20 * time.Second); bus.Subscribers() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the event stream goes on without its client")
		}
	}
}

func TestImport(t *testing.T) {
	e, _, _, c := start(t)
	post := func(query, content string) (int, string) {
		resp, err := c.Post("http://d/v1.41/images/create?"+query, "application/x-tar", io.MultiReader(strings.NewReader(content)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	big := strings.Repeat("x", 8<<20) // more than a JSON body may have
	if code, body := post("fromSrc=-&repo=app&tag=1&changes=CMD+a&changes=ENV+b&platform=linux/arm64", big); code != 200 || body != "{\"status\":\"reading\"}\r\n{\"status\":\"sha256:1\"}\r\n" {
		t.Errorf("%d %s", code, body)
	}
	if o := e.import_; len(e.content) != len(big) || o.Reference != "app:1" || o.Message != "Imported from -" || len(o.Changes) != 2 || o.Platform != "linux/arm64" {
		t.Errorf("%d bytes, %+v", len(e.content), o)
	}
	if code, body := post("fromSrc=-", "broken"); code != 400 || body != "{\"message\":\"import: unexpected EOF in the tar\"}\n" {
		t.Errorf("an error before the first message: %d %s", code, body)
	}
	if code, body := post("fromSrc=-", "late"); code != 200 || body != "{\"status\":\"reading\"}\r\n{\"errorDetail\":{\"message\":\"import: bad entry\"},\"error\":\"import: bad entry\"}\n" {
		t.Errorf("an error after it: %d %s", code, body)
	}
	if code, body := post("fromSrc=-&repo=a@sha256:"+strings.Repeat("0", 64), ""); code != 400 || !strings.Contains(body, "digest") {
		t.Errorf("a digest as name: %d %s", code, body)
	}
}

func TestEvents(t *testing.T) {
	_, bus, _, c := start(t)
	bus.Emit(events.ContainerEventType, events.ActionStart, "c1", map[string]string{"image": "app", "name": "web"})
	until := time.Now().Unix() + 1
	get := func(path, accept string) *http.Response {
		req, _ := http.NewRequest("GET", "http://d"+path, nil)
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp := get(fmt.Sprintf("/v1.41/events?since=0&until=%d", until), "")
	dec := json.NewDecoder(resp.Body)
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if m["status"] != "start" || m["id"] != "c1" || m["from"] != "app" || m["Type"] != "container" || m["scope"] != "local" {
		t.Errorf("at 1.41: %v", m)
	}
	if err := dec.Decode(&m); err != io.EOF {
		t.Errorf("after until: %v", err)
	}
	resp.Body.Close()
	resp = get("/v1.56/events?since=1&filters=%7B%22type%22%3A%5B%22image%22%5D%7D", "application/json-seq")
	defer resp.Body.Close()
	bus.Emit(events.NetworkEventType, events.ActionConnect, "n1", nil)
	bus.Emit(events.ImageEventType, events.ActionTag, "i1", nil)
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil || first[0] != 0x1e || resp.Header.Get("Content-Type") != "application/json-seq" {
		t.Errorf("%q %v %v", first, err, resp.Header)
	}
	m = nil
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || m["Action"] != "tag" || m["status"] != "tag" {
		t.Errorf("at 1.56: %v %v", m, err)
	}
}

func TestInfoAndVersion(t *testing.T) {
	_, _, _, c := start(t)
	_, body := ask(t, c, "GET", "/v1.41/info", "")
	var info map[string]any
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("compat/testdata/info-1.41.json")
	if err != nil {
		t.Fatal(err)
	}
	var docker map[string]any
	if err := json.Unmarshal(raw, &docker); err != nil {
		t.Fatal(err)
	}
	for key := range docker {
		if _, ok := info[key]; !ok {
			t.Errorf("info lacks %s", key)
		}
	}
	for key := range info {
		if _, ok := docker[key]; !ok {
			t.Errorf("info has %s, which Docker 20.10 has not", key)
		}
	}
	for key, want := range map[string]any{"Containers": 3.0, "ContainersRunning": 1.0, "Images": 4.0, "OSType": "linux", "Driver": "overlay2", "ID": "ID"} {
		if info[key] != want {
			t.Errorf("%s = %v, want %v", key, info[key], want)
		}
	}
	host, _ := os.Hostname()
	if info["Name"] != host || info["MemTotal"].(float64) < 1<<20 || info["KernelVersion"] == "" || info["OperatingSystem"] == "" || info["NFd"].(float64) < 1 {
		t.Errorf("facts of the machine: %v", info)
	}
	_, body = ask(t, c, "GET", "/v1.41/version", "")
	for _, want := range []string{`"Version":"1.2.3"`, `"ApiVersion":"1.56"`, `"MinAPIVersion":"1.24"`, `"Name":"Engine"`, `"GitCommit":"abc"`} {
		if !strings.Contains(body, want) {
			t.Errorf("version lacks %s: %s", want, body)
		}
	}
}

func BenchmarkInspect(b *testing.B) {
	s := server.New(server.Config{Version: "1"})
	containerroutes.Register(s, &engine{})
	h := s.Handler()
	for _, v := range []string{"1.41", "1.56"} {
		b.Run(v, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/v"+v+"/containers/web/json", nil)
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
