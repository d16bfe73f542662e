package container

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/runtime/checkpoint"
	"github.com/sampan-containers/sampan/shim/exitrecord"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
	"github.com/sampan-containers/sampan/snapshot"
	"github.com/sampan-containers/sampan/state"
	"github.com/sampan-containers/sampan/volume"
)

// world is the machine a test's daemon runs on. It outlives the daemon: a test
// restarts one with newDaemon on the same world.
type world struct {
	t    *testing.T
	root string
	base string // the image's one layer

	mu        sync.Mutex
	shims     map[string]*fakeShim // running, by run directory
	startErr  error
	silent    bool // shims do not answer
	joined    map[string]bool
	destroyed []string
	events    []string
	frozen    map[string]bool // by cgroup path
	updated   []*specs.LinuxResources
	groupErr  error
	probe     func(*handle.ExecRequest) int // exit code of an exec; nil: execs run for ever
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, root: t.TempDir(), shims: map[string]*fakeShim{}, joined: map[string]bool{}, frozen: map[string]bool{}}
	w.base = filepath.Join(w.root, "layer")
	if err := os.MkdirAll(filepath.Join(w.base, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:7:8::/web:/bin/sh\n")
	w.write("etc/group", "root:x:0:\n")
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.base, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

type daemon struct {
	*Service
	store, passing *state.Store
}

func (w *world) newDaemon() *daemon {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Join(w.root, "run", "containers"), 0o700); err != nil {
		w.t.Fatal(err)
	}
	store, err := state.Open(filepath.Join(w.root, "state.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	passing, err := state.OpenVolatile(filepath.Join(w.root, "run", "passing.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	snapshots, err := snapshot.Open(w.root, "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { store.Close(); passing.Close(); snapshots.Close() })
	volumes, err := volume.Open(w.root)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := New(Options{DataRoot: w.root, ExecRoot: filepath.Join(w.root, "run"), Defaults: request.Defaults{Runtime: "sampan"}, Log: slog.New(slog.NewTextHandler(testWriter{w.t}, nil))},
		Dependencies{Store: store, Passing: passing, Images: w, Snapshots: snapshots, Volumes: volumes, Networks: w, Supervisor: supervisor{w}, Groups: w, Events: w, Host: ocispec.LocalHost{}})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.Restore(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return &daemon{s, store, passing}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) { w.t.Log(string(p)); return len(p), nil }

// crash is kill -9: nothing is told to anybody, the store's file is let go.
func (d *daemon) crash() {
	d.work.Close()
	d.work.End()
	for _, e := range d.containers.All() {
		if r := e.Run(); r != nil {
			r.Shim.Close()
		}
	}
	_ = d.work.Wait(context.Background())
	d.store.Close()
	d.passing.Close()
}

func (d *daemon) create(t *testing.T, name string, change ...func(*container.Config, *container.HostConfig)) string {
	t.Helper()
	c, hc := &container.Config{Image: "img", Cmd: []string{"sleep", "1"}}, &container.HostConfig{}
	for _, f := range change {
		f(c, hc)
	}
	id, _, err := d.Create(t.Context(), CreateOptions{Name: name, Config: c, HostConfig: hc})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (d *daemon) status(t *testing.T, ref string) State {
	t.Helper()
	e, err := d.containers.Find(ref)
	if err != nil {
		t.Fatal(err)
	}
	return e.Record().State
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatal("not within 10 s: ", what)
}

// Images.

const imageID = digest.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")

func (w *world) Get(_ context.Context, ref string) (*image.Image, error) {
	if ref != "img" && ref != imageID.String() {
		return nil, fault.New(fault.NotFound, "No such image: %s", ref)
	}
	img := &dockerspec.DockerOCIImage{}
	img.OS, img.Architecture = "linux", "amd64"
	return &image.Image{ID: imageID, Config: img}, nil
}

func (w *world) Family(_ context.Context, ref string) ([]digest.Digest, error) {
	return []digest.Digest{imageID}, nil
}

func (w *world) Commit(_ context.Context, diff io.Reader, _ image.CommitOptions) (digest.Digest, error) {
	_, err := io.Copy(io.Discard, diff)
	return digest.FromString("committed"), err
}
func (w *world) Lowers(*image.Image) ([]string, error) { return []string{w.base}, nil }

// Networks.

func (w *world) Join(_ context.Context, r network.JoinRequest) (*network.Sandbox, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.joined[r.ContainerID] = true
	f, err := os.Open("/dev/null")
	return &network.Sandbox{NetNS: f, Joined: &network.Joined{Endpoints: []network.Endpoint{{Network: "bridge", IP: netip.MustParsePrefix("10.0.0.2/24")}}}}, err
}

func (w *world) Isolated(context.Context) (*os.File, error) { return os.Open("/dev/null") }

func (w *world) Leave(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.joined, id)
	return nil
}

func (w *world) Restore(_ context.Context, running []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.joined {
		if !slices.Contains(running, id) {
			delete(w.joined, id)
		}
	}
	return nil
}

func (w *world) Joined(string) (*network.Joined, error) {
	return nil, fault.New(fault.NotFound, "none")
}
func (w *world) Resolves(string) bool                                 { return false }
func (w *world) Unlinked(string) bool                                 { return false }
func (w *world) Relink(context.Context, string, *os.File, bool) error { return nil }
func (w *world) ServeNames(_ string, s dns.Sockets, _ network.ResolverOptions) error {
	s.Close()
	return nil
}
func (w *world) OpenResolver(string, *os.File, network.ResolverOptions) (dns.Sockets, error) {
	return dns.Sockets{}, nil
}
func (w *world) AddPorts(context.Context, string, []network.PortRequest, func([]network.BoundPort) error, func(*state.Tx) error) (*network.Joined, error) {
	return nil, fault.New(fault.Unavailable, "not in this test")
}
func (w *world) RemovePorts(context.Context, string, func(network.BoundPort) bool, func(*state.Tx) error) ([]network.BoundPort, *network.Joined, error) {
	return nil, nil, fault.New(fault.Unavailable, "not in this test")
}
func (w *world) Rename(string, string) error         { return nil }
func (w *world) Check(network.EndpointRequest) error { return nil }
func (w *world) NetworkOf(ref string) (name, id string, err error) {
	switch ref {
	case "bridge", "host", "none":
		return ref, "", nil
	}
	return "", "", fault.New(fault.NotFound, "network %s not found", ref)
}
func (w *world) Connect(context.Context, network.ConnectRequest) (*network.Joined, error) {
	return nil, fault.New(fault.Unavailable, "not in this test")
}
func (w *world) Disconnect(context.Context, string, string, *os.File, func(*state.Tx) error) (*network.Joined, error) {
	return nil, fault.New(fault.Unavailable, "not in this test")
}
func (w *world) BuildHosts(network.HostsRequest) ([]byte, error)       { return []byte("hosts\n"), nil }
func (w *world) BuildResolvConf(network.ResolvRequest) ([]byte, error) { return []byte("dns\n"), nil }
func (w *world) BuildHostname(h string) []byte                         { return []byte(h + "\n") }

// Groups and events.

func (w *world) Destroy(_ context.Context, path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.destroyed = append(w.destroyed, path)
	return nil
}

func (w *world) Freeze(_ context.Context, path string) error { return w.freeze(path, true) }
func (w *world) Thaw(_ context.Context, path string) error   { return w.freeze(path, false) }

func (w *world) freeze(path string, frozen bool) error {
	w.mu.Lock()
	if w.groupErr != nil {
		defer w.mu.Unlock()
		return w.groupErr
	}
	w.frozen[path] = frozen
	var doomed []*fakeShim
	for _, f := range w.shims {
		if !frozen && strings.HasSuffix(path, f.config.ID) {
			doomed = append(doomed, f)
		}
	}
	w.mu.Unlock()
	for _, f := range doomed {
		f.deliver()
	}
	return nil
}

func (w *world) Frozen(path string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frozen[path], nil
}

func (w *world) Update(path string, res *specs.LinuxResources) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.updated = append(w.updated, res)
	return w.groupErr
}

func (w *world) Procs(string) ([]int, error) { return []int{os.Getpid()}, nil }
func (w *world) Paths(string) (map[string]string, error) {
	return map[string]string{"memory": w.root}, nil
}

func (w *world) Publish(m events.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Type == events.ContainerEventType {
		w.events = append(w.events, string(m.Action))
	}
}

func (w *world) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// supervisor starts fake shims.
type supervisor struct{ w *world }

func (supervisor) Prepare(string, bool) {}
func (supervisor) Dismiss(string)       {}

func (supervisor) Dump(context.Context, *checkpoint.Request) error { return nil }

func (s supervisor) Start(_ context.Context, st *handle.Start) (Shim, error) {
	for _, a := range st.Attach {
		a.Conn.Close()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.startErr != nil {
		return nil, s.w.startErr
	}
	sh := &fakeShim{w: s.w, config: st.Config, started: time.Now(), done: make(chan struct{}), codes: map[string]int{}, clients: len(st.Attach)}
	s.w.shims[st.Config.RunDir] = sh
	return sh, nil
}

func (s supervisor) Connect(_ context.Context, runDir string) (Shim, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	old, ok := s.w.shims[runDir]
	if ok && s.w.silent {
		return nil, fault.New(fault.Deadline, "the shim does not answer")
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "no shim listens in %s", runDir)
	}
	sh := &fakeShim{w: s.w, config: old.config, started: old.started, done: make(chan struct{}), codes: map[string]int{}}
	s.w.shims[runDir] = sh
	return sh, nil
}

func (w *world) shim(d *daemon, id string) *fakeShim {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	sh := w.shims[d.paths.RunDir(id)]
	if sh == nil {
		w.t.Fatalf("no shim of %s", id)
	}
	return sh
}

type fakeShim struct {
	clients int // that it was started with
	w       *world
	config  wire.Config
	started time.Time

	mu      sync.Mutex
	closed  bool
	done    chan struct{}
	exit    *wire.ExitRecord
	dead    bool // the shim's process is gone
	signals []syscall.Signal
	fatal   syscall.Signal // has come and was not yet taken
	ignore  bool           // the container ignores everything but SIGKILL
	codes   map[string]int // exit codes of execs
}

// neverEnds is a probe's exit code that does not come.
const neverEnds = -1000

func (f *fakeShim) Pid() int                                     { return os.Getpid() }
func (f *fakeShim) StartedAt() time.Time                         { return f.started }
func (f *fakeShim) Done() <-chan struct{}                        { return f.done }
func (f *fakeShim) OnWarning(func(string))                       {}
func (f *fakeShim) Resize(context.Context, uint32, uint32) error { return nil }
func (f *fakeShim) Attach(_ context.Context, a handle.Attach) error {
	return a.Conn.Close()
}
func (f *fakeShim) Exec(_ context.Context, r handle.ExecRequest) (int, error) {
	f.w.mu.Lock()
	probe := f.w.probe
	f.w.mu.Unlock()
	if probe != nil {
		code := probe(&r)
		f.mu.Lock()
		f.codes[r.ID] = code
		f.mu.Unlock()
	}
	if r.Attach != nil {
		r.Attach.Conn.Close()
	}
	return 4242, nil
}
func (f *fakeShim) ExecSignal(_ context.Context, id string, _ syscall.Signal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.codes[id] = 137
	return nil
}
func (f *fakeShim) ExecState(context.Context, string) (handle.ExecState, error) {
	return handle.ExecState{Running: true, Pid: 4242}, nil
}
func (f *fakeShim) ExecWait(ctx context.Context, id string) (handle.ExecState, error) {
	f.mu.Lock()
	code, ended := f.codes[id]
	f.mu.Unlock()
	if ended && code != neverEnds {
		return handle.ExecState{ExitCode: code}, nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return handle.ExecState{}, fault.New(fault.Deadline, "no answer: %w", ctx.Err())
	}
	return handle.ExecState{ExitCode: 3}, nil
}
func (f *fakeShim) ExecResize(context.Context, string, uint32, uint32) error { return nil }
func (f *fakeShim) Kept(context.Context, string) (*os.File, error)           { return os.Open("/dev/null") }
func (f *fakeShim) Publish(context.Context, wire.Port, *os.File) error       { return nil }
func (f *fakeShim) Retarget(context.Context, wire.Port) error                { return nil }
func (f *fakeShim) Keep(context.Context, string, *os.File) error             { return nil }
func (f *fakeShim) Control(context.Context, string, []byte) error            { return nil }

func (f *fakeShim) Namespace(context.Context, string) (*os.File, error) {
	return os.Open("/dev/null")
}

// ShimPid is this process's while the shim lives, and one that never was after.
func (f *fakeShim) ShimPid() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return 1 << 30
	}
	return os.Getpid()
}

func (f *fakeShim) Exit() (wire.ExitRecord, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.exit == nil {
		return wire.ExitRecord{}, handle.ErrLost
	}
	return *f.exit, nil
}

func (f *fakeShim) Signal(_ context.Context, sig syscall.Signal) error {
	f.mu.Lock()
	f.signals = append(f.signals, sig)
	ignore := f.ignore
	f.mu.Unlock()
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM && !ignore {
		f.mu.Lock()
		f.fatal = sig
		f.mu.Unlock()
		f.w.mu.Lock()
		frozen := false
		for path, is := range f.w.frozen {
			frozen = frozen || is && strings.HasSuffix(path, f.config.ID)
		}
		f.w.mu.Unlock()
		if !frozen { // a frozen process dies when it is thawed
			f.deliver()
		}
	}
	return nil
}

// deliver ends the container by the signal that it has got, if there is one.
func (f *fakeShim) deliver() {
	f.mu.Lock()
	sig := f.fatal
	f.fatal = 0
	f.mu.Unlock()
	if sig != 0 {
		f.end(128 + int(sig))
	}
}

func (f *fakeShim) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finish()
	return nil
}

func (f *fakeShim) finish() {
	if !f.closed {
		f.closed = true
		close(f.done)
	}
}

// end is the end of the container: the exit record is on disk, then told.
func (f *fakeShim) end(code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Now()
	f.exit = &wire.ExitRecord{Code: code, At: at}
	text := `{"code":` + itoa(code) + `,"at":"` + at.Format(time.RFC3339Nano) + `"}`
	if err := os.WriteFile(f.config.ExitPath, []byte(text), 0o600); err != nil {
		f.w.t.Error(err)
	}
	f.w.forget(f)
	f.finish()
}

// lose is kill -9 of the shim: what it reserved for the exit record stays.
func (f *fakeShim) lose() {
	if err := os.WriteFile(exitrecord.Reserved(f.config.ExitPath), nil, 0o600); err != nil {
		f.w.t.Error(err)
	}
	f.vanish()
}

// vanish is a start that was recorded and not made.
func (f *fakeShim) vanish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
	f.w.forget(f)
	f.finish()
}

func (w *world) forget(f *fakeShim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.shims, f.config.RunDir)
}
