package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestLife(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.create(t, "web")
	ctx := t.Context()

	if _, _, err := d.Create(ctx, CreateOptions{Name: "/web", Config: &container.Config{Image: "img", Cmd: []string{"x"}}}); !errors.Is(err, fault.Conflict) ||
		!strings.Contains(err.Error(), `Conflict. The container name "/web" is already in use by container "`+id+`"`) {
		t.Fatalf("a taken name gave %v", err)
	}
	next, err := d.Wait(ctx, "web", WaitNextExit)
	if err != nil {
		t.Fatal(err)
	}
	if r := <-mustWait(t, d, "web", ""); r.StatusCode != 0 {
		t.Fatalf("a created container does not run, wait gave %+v", r)
	}
	if err := d.Start(ctx, id[:10]); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(ctx, "web"); !errors.Is(err, fault.NotModified) {
		t.Fatalf("a second start gave %v", err)
	}
	if err := d.Remove(ctx, "web", RemoveOptions{}); !errors.Is(err, fault.Conflict) {
		t.Fatalf("removing a running container gave %v", err)
	}
	w.shim(d, id).end(7)
	if r := <-next; r.StatusCode != 7 {
		t.Fatalf("wait gave %+v", r)
	}
	eventually(t, "address given back", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.joined[id] })
	if err := d.Stop(ctx, "web", StopOptions{}); !errors.Is(err, fault.NotModified) {
		t.Fatalf("stop of a stopped container gave %v", err)
	}
	if err := d.Kill(ctx, "web", ""); !errors.Is(err, fault.Conflict) {
		t.Fatalf("kill of a stopped container gave %v", err)
	}
	removed := mustWait(t, d, "web", WaitRemoved)
	if err := d.Remove(ctx, "web", RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := <-removed; r.StatusCode != 7 {
		t.Fatalf("wait for removal gave %+v", r)
	}
	if err := d.Start(ctx, "web"); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "No such container: web") {
		t.Fatalf("start of a removed container gave %v", err)
	}
	left, _ := os.ReadDir(filepath.Join(w.root, "containers"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	want := []string{"create", "start", "die", "destroy"}
	if got := w.seen(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func mustWait(t *testing.T, d *daemon, ref, condition string) <-chan WaitResult {
	t.Helper()
	c, err := d.Wait(t.Context(), ref, condition)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStopKillsAfterTheTimeout(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.create(t, "deaf")
	if err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.shim(d, id).ignore = true
	if err := d.Stop(t.Context(), id, StopOptions{Timeout: new(0)}); err != nil {
		t.Fatal(err)
	}
	if st := d.status(t, id); st.Status != container.StateExited || st.ExitCode != 137 || !st.Stopped {
		t.Fatalf("got %+v", st)
	}
}

func TestAutoRemove(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	rm := func(_ *container.Config, hc *container.HostConfig) {
		hc.AutoRemove = true
		hc.Binds = []string{"/srv/data"}
	}
	id := d.create(t, "", rm)
	removed := mustWait(t, d, id, WaitRemoved)
	if err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.shim(d, id).end(0)
	<-removed
	if _, err := d.containers.Find(id); !errors.Is(err, fault.NotFound) {
		t.Fatal("it is still there")
	}
	if left, _ := os.ReadDir(filepath.Join(w.root, "volumes")); len(left) != 0 {
		t.Fatal("its anonymous volume is still there")
	}
	w.startErr = fmt.Errorf("exec %q: %w", "nope", runtime.ErrNotFound)
	id = d.create(t, "", rm)
	removed = mustWait(t, d, id, WaitRemoved)
	if err := d.Start(t.Context(), id); !errors.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
	if r := <-removed; r.StatusCode != 127 {
		t.Fatalf("got %+v", r)
	}
}

func TestFailedStart(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{{runtime.ErrNotFound, 127}, {runtime.ErrNotExecutable, 126}, {errors.New("no cgroup"), 128}} {
		w := newWorld(t)
		d := w.newDaemon()
		w.startErr = tt.err
		id := d.create(t, "bad")
		if err := d.Start(t.Context(), id); !errors.Is(err, tt.err) {
			t.Fatalf("got %v", err)
		}
		st := d.status(t, id)
		if st.Status != container.StateCreated || st.ExitCode != tt.code || st.Error == "" {
			t.Errorf("got %+v", st)
		}
		if left, _ := os.ReadDir(filepath.Join(w.root, "run", "containers")); len(left) != 0 {
			t.Error("the run directory is still there")
		}
		if w.joined[id] {
			t.Error("the address is not given back")
		}
		w.startErr = nil
		if err := d.Start(t.Context(), id); err != nil {
			t.Errorf("a second try: %v", err)
		}
	}
}

func TestLostShim(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.create(t, "one")
	if err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	end := mustWait(t, d, id, "")
	w.shim(d, id).lose()
	if r := <-end; r.StatusCode != 137 {
		t.Fatalf("got %+v", r)
	}
	if st := d.status(t, id); st.ExitCode != 137 || !strings.Contains(st.Error, "supervisor") {
		t.Fatalf("got %+v", st)
	}
	if !slices.Contains(w.destroyed, "/sampan/"+id) {
		t.Fatal("its group was not killed")
	}
}

func TestRestore(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	ctx := t.Context()
	rm := func(_ *container.Config, hc *container.HostConfig) { hc.AutoRemove = true }
	ids := map[string]string{}
	for name, change := range map[string]func(*container.Config, *container.HostConfig){
		"runs": nil, "ends": nil, "rm-runs": rm, "rm-ends": rm, "lost": nil, "cut": nil, "created": nil, "rm-created": rm, "rm-cut-created": rm,
		"always-cut": func(_ *container.Config, hc *container.HostConfig) { hc.RestartPolicy.Name = "always" },
		"always":     func(_ *container.Config, hc *container.HostConfig) { hc.RestartPolicy.Name = "always" },
	} {
		if change == nil {
			change = func(*container.Config, *container.HostConfig) {}
		}
		ids[name] = d.create(t, name, change)
		if !strings.HasSuffix(name, "created") {
			if err := d.Start(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := map[string]*fakeShim{}
	for _, name := range []string{"runs", "ends", "rm-runs", "rm-ends", "lost", "always", "cut", "always-cut"} {
		before[name] = w.shim(d, ids[name])
	}
	d.crash()
	before["ends"].end(3)
	before["rm-ends"].end(4)
	before["always"].end(5)
	before["lost"].lose()
	before["cut"].vanish()
	before["always-cut"].vanish()
	// A removal that was cut off between the files and the record.
	if err := os.RemoveAll(filepath.Join(w.root, "containers", ids["rm-cut-created"])); err != nil {
		t.Fatal(err)
	}
	// A create that was cut off, and the rest of a run without a record.
	orphan := strings.Repeat("ab", 32)
	for _, dir := range []string{"containers", "run/containers"} {
		if err := os.MkdirAll(filepath.Join(w.root, dir, orphan), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	d = w.newDaemon()
	for name, want := range map[string]State{
		"runs":       {Status: container.StateRunning},
		"rm-runs":    {Status: container.StateRunning},
		"ends":       {Status: container.StateExited, ExitCode: 3},
		"lost":       {Status: container.StateExited, ExitCode: 137},
		"cut":        {Status: container.StateExited, ExitCode: 128},
		"created":    {Status: container.StateCreated},
		"rm-created": {Status: container.StateCreated},
	} {
		if st := d.status(t, name); st.Status != want.Status || st.ExitCode != want.ExitCode {
			t.Errorf("%s: got %+v", name, st)
		}
	}
	for _, name := range []string{"rm-ends", "rm-cut-created"} {
		if _, err := d.containers.Find(name); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range []string{"always", "always-cut"} {
		eventually(t, "restart by policy", func() bool { return d.status(t, name).Status == container.StateRunning })
	}
	if n := d.status(t, "always-cut").RestartCount; n != 0 {
		t.Errorf("a start that was cut off counts as %d restarts", n)
	}
	for _, dir := range []string{"containers", "run/containers"} {
		if _, err := os.Stat(filepath.Join(w.root, dir, orphan)); err == nil {
			t.Errorf("%s/%s is still there", dir, orphan)
		}
	}
	// What was found again is supervised: its end arrives.
	end := mustWait(t, d, "runs", "")
	w.shim(d, ids["runs"]).end(9)
	if r := <-end; r.StatusCode != 9 {
		t.Errorf("got %+v", r)
	}
}

func TestRestoreAfterReboot(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.create(t, "one")
	rm := d.create(t, "rm", func(_ *container.Config, hc *container.HostConfig) { hc.AutoRemove = true })
	for _, ref := range []string{id, rm} {
		if err := d.Start(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	d.crash()
	w.shims = map[string]*fakeShim{}
	if err := os.RemoveAll(filepath.Join(w.root, "run")); err != nil {
		t.Fatal(err)
	}
	d = w.newDaemon()
	if st := d.status(t, id); st.Status != container.StateExited || st.ExitCode != 255 || st.Error == "" {
		t.Errorf("got %+v", st)
	}
	if _, err := d.containers.Find(rm); !errors.Is(err, fault.NotFound) {
		t.Error("the --rm container is still there")
	}
	if err := d.Start(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func TestSilentShim(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	back, gone := d.create(t, "back"), d.create(t, "gone")
	for _, ref := range []string{back, gone} {
		if err := d.Start(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	d.crash()
	w.mu.Lock()
	w.silent = true
	w.mu.Unlock()
	d = w.newDaemon()
	for _, ref := range []string{back, gone} {
		if st := d.status(t, ref); st.Status != container.StateRunning {
			t.Fatalf("a container whose shim is slow became %s", st.Status)
		}
	}
	if !w.joined[back] {
		t.Error("its address was given away")
	}
	if err := d.Remove(t.Context(), gone, RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(w.destroyed, "/sampan/"+gone) {
		t.Error("its group was not killed")
	}
	w.mu.Lock()
	w.silent = false
	w.mu.Unlock()
	eventually(t, "the shim is found", func() bool { e, _ := d.containers.Find(back); return e.Run() != nil })
	end := mustWait(t, d, back, "")
	w.shim(d, back).end(4)
	if r := <-end; r.StatusCode != 4 {
		t.Errorf("got %+v", r)
	}
}

func TestRestartPolicy(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.create(t, "flaky", func(_ *container.Config, hc *container.HostConfig) {
		hc.RestartPolicy = container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 1}
	})
	if err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.shim(d, id).end(1)
	eventually(t, "first restart", func() bool { st := d.status(t, id); return st.Status == container.StateRunning && st.RestartCount == 1 })
	w.shim(d, id).end(1)
	eventually(t, "given up", func() bool { return d.status(t, id).Status == container.StateExited })

	id = d.create(t, "stopped", func(_ *container.Config, hc *container.HostConfig) { hc.RestartPolicy.Name = "always" })
	if err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.shim(d, id).end(1)
	eventually(t, "back-off", func() bool { return d.status(t, id).Status == container.StateRestarting })
	if err := d.Stop(t.Context(), id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * record.FirstBackoff)
	if st := d.status(t, id); st.Status != container.StateExited {
		t.Errorf("a stopped container came back: %+v", st)
	}
}

// TestStopMeetsAnEnd: a run that ends by itself while a stop, a kill or a forced
// removal is on its way does not come back by its restart policy.
func TestStopMeetsAnEnd(t *testing.T) {
	const tries = 40
	w := newWorld(t)
	d := w.newDaemon()
	for name, end := range map[string]func(id string) error{
		"stop": func(id string) error { return d.Stop(t.Context(), id, StopOptions{}) },
		"kill": func(id string) error { return d.Kill(t.Context(), id, "KILL") },
		"rm":   func(id string) error { return d.Remove(t.Context(), id, RemoveOptions{Force: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			for i := range tries {
				id := d.create(t, fmt.Sprint(name, i), func(_ *container.Config, hc *container.HostConfig) { hc.RestartPolicy.Name = "always" })
				if err := d.Start(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				shim := w.shim(d, id)
				go shim.end(1)
				// The window is where the end is being recorded: step through it.
				time.Sleep(time.Duration(i) * 50 * time.Microsecond)
				// A run that ended before the signal came is no failure, nor is one that is over.
				if err := end(id); err != nil && !errors.Is(err, fault.NotModified) && !errors.Is(err, fault.Conflict) {
					t.Fatal(err)
				}
				if name == "rm" {
					if _, err := d.containers.Find(id); !errors.Is(err, fault.NotFound) {
						t.Fatalf("try %d: a removed container is there: %v", i, err)
					}
					continue
				}
				if st := d.status(t, id); st.Status != container.StateExited {
					t.Fatalf("try %d: the container is %s, want it to be exited", i, st.Status)
				}
			}
		})
	}
}

func TestSameNameStorm(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	var won, lost int
	var mu sync.Mutex
	var g sync.WaitGroup
	for range 20 {
		g.Go(func() {
			_, _, err := d.Create(t.Context(), CreateOptions{Name: "one", Config: &container.Config{Image: "img", Cmd: []string{"x"}}})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case errors.Is(err, fault.Conflict):
				lost++
			default:
				t.Error(err)
			}
		})
	}
	g.Wait()
	if won != 1 || lost != 19 {
		t.Errorf("%d won, %d lost", won, lost)
	}
}

func TestStuckContainerHangsNobody(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	d.create(t, "stuck")
	e, err := d.containers.Find("stuck")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	if list, err := d.List(t.Context(), ListOptions{All: true}); err != nil || len(list) != 1 {
		t.Errorf("list: %v, %v", list, err)
	}
	if _, err := d.Service.Inspect(t.Context(), "stuck", false); err != nil {
		t.Error(err)
	}
}

func TestPendingAttach(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.create(t, "one")
	attach := func() net.Conn {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s")})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		err = d.Attach(t.Context(), id, AttachOptions{Stream: true, Stdout: true, Hijack: func(bool) (*os.File, []byte, error) {
			defer server.Close()
			f, err := server.File()
			return f, nil, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	// Clients that leave make room for others.
	for range 3 * index.MaxPending {
		attach().Close()
	}
	client := attach()
	defer client.Close()
	if err := d.Remove(t.Context(), id, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection of a client of a removed container is still open")
	}
}

// A client may start the container as soon as it is told that it is attached:
// the run must begin with it, or it misses the output.
func TestStartWaitsForAnArrivingClient(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.create(t, "one")
	started := make(chan error, 1)
	err := d.Attach(t.Context(), id, AttachOptions{Stream: true, Stdout: true, Hijack: func(bool) (*os.File, []byte, error) {
		go func() { started <- d.Start(context.WithoutCancel(t.Context()), id) }()
		time.Sleep(50 * time.Millisecond) // the start gets as far as it can
		r, w, err := os.Pipe()
		if err == nil {
			r.Close()
		}
		return w, nil, err
	}})
	if err := errors.Join(err, <-started); err != nil {
		t.Fatal(err)
	}
	if n := w.shim(d, id).clients; n != 1 {
		t.Errorf("the run began with %d clients, want 1", n)
	}
}

func TestRefusedRequests(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	for name, tt := range map[string]struct {
		change func(*container.Config, *container.HostConfig)
		class  *fault.Class
		want   string
	}{
		"no image":   {func(c *container.Config, _ *container.HostConfig) { c.Image = "nope" }, fault.NotFound, "No such image"},
		"no command": {func(c *container.Config, _ *container.HostConfig) { c.Cmd = nil }, fault.Invalid, "no command specified"},
		"workdir":    {func(c *container.Config, _ *container.HostConfig) { c.WorkingDir = "x" }, fault.Invalid, "needs to be an absolute path"},
		"bind": {func(_ *container.Config, hc *container.HostConfig) {
			hc.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: "/no/such/dir", Target: "/x"}}
		}, fault.Invalid, `invalid mount config for type "bind": bind source path does not exist: /no/such/dir`},
		"memory":  {func(_ *container.Config, hc *container.HostConfig) { hc.Memory = 1 }, fault.Invalid, "Minimum memory limit allowed is 6MB"},
		"cap":     {func(_ *container.Config, hc *container.HostConfig) { hc.CapAdd = []string{"x"} }, fault.Invalid, "unknown capability"},
		"network": {func(_ *container.Config, hc *container.HostConfig) { hc.NetworkMode = "mine" }, fault.Invalid, "network mine not found"},
		"runtime": {func(_ *container.Config, hc *container.HostConfig) { hc.Runtime = "runc" }, fault.Invalid, "unknown or invalid runtime name: runc"},
		"log":     {func(_ *container.Config, hc *container.HostConfig) { hc.LogConfig.Type = "syslog" }, fault.NotImplemented, "not available yet"},
		"log opt": {func(_ *container.Config, hc *container.HostConfig) { hc.LogConfig.Config = map[string]string{"a": "b"} }, fault.Invalid, "unknown log opt"},
		"policy":  {func(_ *container.Config, hc *container.HostConfig) { hc.RestartPolicy.Name = "often" }, fault.Invalid, "unknown policy"},
		"rm policy": {func(_ *container.Config, hc *container.HostConfig) {
			hc.AutoRemove = true
			hc.RestartPolicy.Name = "always"
		}, fault.Invalid, "AutoRemove"},
		"duplicate": {func(_ *container.Config, hc *container.HostConfig) { hc.Binds = []string{"/a:/x", "/b:/x"} }, fault.Invalid, "Duplicate mount point: /x"},
		"cgroup":    {func(_ *container.Config, hc *container.HostConfig) { hc.CgroupParent = "../x" }, fault.Invalid, "invalid cgroup parent"},
		"signal":    {func(c *container.Config, _ *container.HostConfig) { c.StopSignal = "SIGX" }, fault.Invalid, "invalid signal"},
		"health": {func(c *container.Config, _ *container.HostConfig) {
			c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "x"}, Interval: 1}
		}, fault.Invalid, "Interval in Healthcheck cannot be less than 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			c, hc := &container.Config{Image: "img", Cmd: []string{"x"}}, &container.HostConfig{}
			tt.change(c, hc)
			_, _, err := d.Create(t.Context(), CreateOptions{Name: "refused", Config: c, HostConfig: hc})
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %v with %q", err, tt.class, tt.want)
			}
			if left, _ := os.ReadDir(filepath.Join(w.root, "containers")); len(left) != 0 {
				t.Fatalf("left behind: %v", left)
			}
			if _, err := d.containers.Reserve("refused", "another"); err != nil {
				t.Fatalf("the name is still taken: %v", err)
			}
			d.containers.Unreserve("refused", "another")
		})
	}
}

func TestVolumes(t *testing.T) {
	w := newWorld(t)
	if err := os.MkdirAll(filepath.Join(w.base, "srv/deep"), 0o750); err != nil {
		t.Fatal(err)
	}
	w.write("srv/file", "content")
	if err := os.Link(filepath.Join(w.base, "srv/file"), filepath.Join(w.base, "srv/hard")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(w.base, "srv/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(w.base, "srv"), 7, 8); err != nil {
		t.Fatal(err)
	}
	d := w.newDaemon()
	id := d.create(t, "aa", func(_ *container.Config, hc *container.HostConfig) { hc.Binds = []string{"data:/srv"} })
	data := filepath.Join(w.root, "volumes/data/_data")
	if raw, err := os.ReadFile(filepath.Join(data, "file")); err != nil || string(raw) != "content" {
		t.Fatalf("copy: %q, %v", raw, err)
	}
	one, _ := os.Stat(filepath.Join(data, "file"))
	two, _ := os.Stat(filepath.Join(data, "hard"))
	if !os.SameFile(one, two) {
		t.Error("hard links are copied apart")
	}
	if target, err := os.Readlink(filepath.Join(data, "link")); err != nil || target != "/etc/passwd" {
		t.Errorf("link: %q, %v", target, err)
	}
	if err := os.WriteFile(filepath.Join(data, "file"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.create(t, "bb", func(_ *container.Config, hc *container.HostConfig) { hc.VolumesFrom = []string{"aa:ro"} })
	if err := d.Remove(t.Context(), id, RemoveOptions{Volumes: true}); err != nil {
		t.Fatal(err)
	}
	d.create(t, "cc", func(_ *container.Config, hc *container.HostConfig) { hc.Binds = []string{"data:/srv"} })
	if raw, _ := os.ReadFile(filepath.Join(data, "file")); string(raw) != "mine" {
		t.Errorf("the volume's own content is gone: %q", raw)
	}
	got, err := d.Service.Inspect(t.Context(), "bb", false)
	if err != nil || len(got.Mounts) != 1 || got.Mounts[0].RW || got.Mounts[0].Name != "data" {
		t.Errorf("mounts of b: %+v, %v", got.Mounts, err)
	}
}
