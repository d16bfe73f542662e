package container

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/shim/handle"
)

// running makes a container and starts it.
func (d *daemon) running(t *testing.T, name string, change ...func(*container.Config, *container.HostConfig)) string {
	t.Helper()
	id := d.create(t, name, change...)
	if err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestPauseIsRecordedAndUndone(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	ctx := t.Context()
	if err := d.Pause(ctx, d.create(t, "still")); !errors.Is(err, fault.Conflict) {
		t.Errorf("pause of one that does not run: %v", err)
	}
	id := d.running(t, "web")
	w.groupErr = fault.New(fault.Deadline, "its processes do not react")
	if err := d.Pause(ctx, "web"); !errors.Is(err, fault.Deadline) || d.status(t, id).Status != container.StateRunning {
		t.Errorf("a pause that fails: %v, %s", err, d.status(t, id).Status)
	}
	w.groupErr = nil
	if err := d.Pause(ctx, "web"); err != nil || d.status(t, id).Status != container.StatePaused {
		t.Fatalf("%v, %s", err, d.status(t, id).Status)
	}
	if err := d.Pause(ctx, "web"); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second pause: %v", err)
	}
	if total, run, paused, stopped := d.Counts(); total != 2 || run != 0 || paused != 1 || stopped != 1 {
		t.Errorf("counts %d %d %d %d", total, run, paused, stopped)
	}
	d.crash()
	d = w.newDaemon()
	if got := d.status(t, id).Status; got != container.StatePaused {
		t.Fatalf("after a crash %s", got)
	}
	if err := d.Stop(ctx, "web", StopOptions{}); err != nil || d.status(t, id).Status != container.StateExited {
		t.Errorf("stop of a paused one: %v, %s", err, d.status(t, id).Status)
	}
	if seen := w.seen(); !slices.Contains(seen, "pause") || !slices.Contains(seen, "unpause") {
		t.Errorf("events %q", seen)
	}
	if err := d.Unpause(ctx, "web"); err == nil || errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "is not paused") {
		t.Errorf("unpause of one that is not paused: %v", err)
	}
}

func TestRenameFreesTheOldName(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	ctx := t.Context()
	id := d.create(t, "one")
	other := d.create(t, "two")
	for name, class := range map[string]*fault.Class{"": fault.Invalid, "/": fault.Invalid, "one": fault.Invalid, "/one": fault.Invalid, "two": fault.Conflict, "a b": fault.Invalid} {
		if err := d.Rename(ctx, "one", name); !errors.Is(err, class) {
			t.Errorf("rename to %q: %v", name, err)
		}
	}
	if err := d.Rename(ctx, "one", "/three"); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename(ctx, "two", "one"); err != nil {
		t.Fatal(err)
	}
	d.crash()
	d = w.newDaemon()
	for name, want := range map[string]string{"three": id, "one": other} {
		if e, err := d.containers.Find(name); err != nil || e.ID != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.containers.Find("two"); !errors.Is(err, fault.NotFound) {
		t.Errorf("the old name: %v", err)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	ctx := t.Context()
	id := d.running(t, "web", func(_ *container.Config, hc *container.HostConfig) { hc.Memory = 64 << 20 })
	before, _ := d.Inspect(ctx, id, false)
	u := &container.UpdateConfig{Resources: container.Resources{Memory: 96 << 20, CPUShares: 512}}
	w.groupErr = fault.New(fault.Invalid, "the kernel refuses")
	if _, err := d.Update(ctx, "web", u); !errors.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "Cannot update container "+id+": ") {
		t.Errorf("a refusal: %v", err)
	}
	if now, _ := d.Inspect(ctx, id, false); now.HostConfig.Memory != before.HostConfig.Memory {
		t.Errorf("after a refusal the limit is %d", now.HostConfig.Memory)
	}
	if n := len(w.updated); n != 2 || *w.updated[1].Memory.Limit != 64<<20 {
		t.Errorf("what was written is not taken back: %d updates", n)
	}
	w.groupErr, w.updated = nil, nil
	if _, err := d.Update(ctx, "web", u); err != nil {
		t.Fatal(err)
	}
	if r := w.updated[0]; *r.Memory.Limit != 96<<20 || *r.Memory.Swap != 128<<20 || *r.CPU.Shares != 512 || r.Pids != nil || r.BlockIO != nil {
		t.Errorf("the group got %+v", r)
	}
	if before.HostConfig.Memory != 64<<20 {
		t.Error("the published record was changed")
	}
	policy := &container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}}
	if _, err := d.Update(ctx, "web", policy); err != nil || len(w.updated) != 1 {
		t.Errorf("a policy alone: %v, %d updates of the group", err, len(w.updated))
	}
	d.crash()
	d = w.newDaemon()
	if now, _ := d.Inspect(ctx, id, false); now.HostConfig.Memory != 96<<20 || now.HostConfig.RestartPolicy.MaximumRetryCount != 3 {
		t.Errorf("after a crash %+v", now.HostConfig.Resources)
	}
	for name, u := range map[string]container.UpdateConfig{
		"parent": {Resources: container.Resources{CgroupParent: "/other"}},
		"gpus":   {Resources: container.Resources{DeviceRequests: []container.DeviceRequest{{}}}},
	} {
		if _, err := d.Update(ctx, "web", &u); !errors.Is(err, fault.NotImplemented) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPruneTakesWhatDoesNotRun(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	label := func(c *container.Config, _ *container.HostConfig) { c.Labels = map[string]string{"keep": "1"} }
	d.running(t, "runs")
	kept, plain := d.create(t, "kept", label), d.create(t, "plain")
	if r, err := d.Prune(t.Context(), nil, time.Now().Add(-time.Hour), false); err != nil || len(r.ContainersDeleted) != 0 {
		t.Errorf("older than an hour: %v, %v", r, err)
	}
	if r, err := d.Prune(t.Context(), Filters{"label!": {"keep"}}, time.Time{}, false); err != nil || !slices.Equal(r.ContainersDeleted, []string{plain}) {
		t.Errorf("without the label: %v, %v", r, err)
	}
	if r, err := d.Prune(t.Context(), Filters{"label": {"keep=1"}}, time.Time{}, false); err != nil || !slices.Equal(r.ContainersDeleted, []string{kept}) {
		t.Errorf("with the label: %v, %v", r, err)
	}
	if n, _, _, _ := d.Counts(); n != 1 {
		t.Errorf("%d are left", n)
	}
	d.pruning <- struct{}{}
	if _, err := d.Prune(t.Context(), nil, time.Time{}, false); !errors.Is(err, fault.Conflict) {
		t.Errorf("two at once: %v", err)
	}
}

func TestStatsOfOneThatDoesNotRun(t *testing.T) {
	d := newWorld(t).newDaemon()
	id := d.create(t, "web")
	var got []*StatsSample
	err := d.Stats(t.Context(), "web", StatsOptions{}, func(s *StatsSample) error { got = append(got, s); return nil })
	if err != nil || len(got) != 1 || got[0].ID != id || got[0].Name != "/web" || !got[0].Read.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if err := d.Stats(t.Context(), "web", StatsOptions{Stream: true, OneShot: true}, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("stream and one-shot: %v", err)
	}
	if err := d.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	got = nil
	ctx, cancel := context.WithCancel(t.Context())
	err = d.Stats(ctx, "web", StatsOptions{Stream: true}, func(s *StatsSample) error {
		if got = append(got, s); len(got) == 2 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(got) != 2 || !got[1].PreRead.Equal(got[0].Read) || got[0].Read.IsZero() {
		t.Errorf("a stream: %v, %d samples", err, len(got))
	}
}

func TestWaitForADepartedContainer(t *testing.T) {
	w := newWorld(t)
	d := w.newDaemon()
	id := d.running(t, "brief", func(_ *container.Config, hc *container.HostConfig) { hc.AutoRemove = true })
	shim := w.shim(d, id)
	d.crash()
	shim.end(42)
	d = w.newDaemon()
	for _, condition := range []string{"", WaitNextExit, WaitRemoved} {
		if r := <-mustWait(t, d, id, condition); r.StatusCode != 42 {
			t.Errorf("condition %q: %+v", condition, r)
		}
	}
	d.crash()
	d = w.newDaemon()
	if r := <-mustWait(t, d, id[:12], ""); r.StatusCode != 42 {
		t.Errorf("one daemon later: %+v", r)
	}
	if _, err := d.Wait(t.Context(), "brief", ""); !errors.Is(err, fault.NotFound) {
		t.Errorf("by its name: %v", err)
	}
}

func checked(c *container.Config, _ *container.HostConfig) {
	c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "look"}, Interval: time.Millisecond, Timeout: time.Second, Retries: 2}
}

func TestHealthFollowsTheProbes(t *testing.T) {
	w := newWorld(t)
	var code atomic.Int64
	w.probe = func(r *handle.ExecRequest) int {
		if !slices.Equal(r.Process.Args, []string{"look"}) {
			t.Errorf("the probe runs %q", r.Process.Args)
		}
		_, _ = r.Attach.Conn.WriteString("seen\xff")
		return int(code.Load())
	}
	d := w.newDaemon()
	id := d.running(t, "web", checked)
	is := func(want container.HealthStatus) func() bool {
		return func() bool {
			c, err := d.Inspect(t.Context(), id, false)
			return err == nil && c.State.Health.Status == want
		}
	}
	eventually(t, "healthy", is(container.Healthy))
	c, _ := d.Inspect(t.Context(), id, false)
	if log := c.State.Health.Log; len(log) == 0 || log[0].Output != "seen\uFFFD" || log[0].ExitCode != 0 {
		t.Errorf("results %+v", log)
	}
	code.Store(1)
	eventually(t, "unhealthy", is(container.Unhealthy))
	list, err := d.List(t.Context(), ListOptions{Filters: Filters{"health": {"unhealthy"}}})
	if err != nil || len(list) != 1 || !strings.HasSuffix(list[0].Status, "(unhealthy)") || list[0].Health.FailingStreak < 2 {
		t.Errorf("list %+v, %v", list, err)
	}
	code.Store(0)
	eventually(t, "healthy again", is(container.Healthy))
	d.crash()
	w.probe = func(*handle.ExecRequest) int { return 1 }
	d = w.newDaemon()
	if c, _ := d.Inspect(t.Context(), id, false); c.State.Health == nil || c.State.Health.Status == container.Starting {
		t.Errorf("after a crash %+v", c.State.Health)
	}
	eventually(t, "unhealthy with the new daemon", is(container.Unhealthy))
	w.shim(d, id).end(0)
	eventually(t, "exited", func() bool { return d.status(t, id).Status == container.StateExited })
	if h := d.status(t, id).Health; h.Status != container.Unhealthy {
		t.Errorf("one that does not run is %s", h.Status)
	}
	seen := w.seen()
	for _, want := range []string{"health_status: healthy", "health_status: unhealthy", "exec_create: look ", "exec_start: look ", "exec_die"} {
		if !slices.Contains(seen, want) {
			t.Errorf("no event %q", want)
		}
	}
}

// A probe that does not end is killed, and a container whose end catches one
// does not wait for it.
func TestProbesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.probe = func(*handle.ExecRequest) int { return neverEnds }
	d := w.newDaemon()
	id := d.running(t, "web", checked, func(c *container.Config, _ *container.HostConfig) {
		c.Healthcheck.Timeout, c.Healthcheck.Retries = 5*time.Millisecond, 1
	})
	eventually(t, "unhealthy", func() bool {
		c, err := d.Inspect(t.Context(), id, false)
		return err == nil && c.State.Health.Status == container.Unhealthy
	})
	c, _ := d.Inspect(t.Context(), id, false)
	if r := c.State.Health.Log[0]; r.ExitCode != -1 || !strings.HasPrefix(r.Output, "Health check exceeded timeout (5ms)") {
		t.Errorf("result %+v", r)
	}
	if err := d.Stop(t.Context(), id, StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := d.Shutdown(t.Context(), true); err != nil {
		t.Error(err)
	}
}
