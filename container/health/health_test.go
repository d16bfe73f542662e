package health

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/fault"
)

func TestCheck(t *testing.T) {
	for _, bad := range []container.HealthConfig{
		{Interval: 1}, {Timeout: -1}, {StartPeriod: 999}, {StartInterval: 999_999}, {Retries: -1}, {Test: []string{"SHELL", "x"}},
	} {
		if err := Check(&bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, good := range []*container.HealthConfig{nil, {}, {Test: []string{"NONE"}}, {Test: []string{"CMD", "x"}, Interval: shortest}} {
		if err := Check(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		test, shell, want []string
	}{
		{nil, nil, nil},
		{[]string{"NONE"}, nil, nil},
		{[]string{"CMD"}, nil, nil},
		{[]string{"CMD", "a", "b"}, nil, []string{"a", "b"}},
		{[]string{"CMD-SHELL", "a b"}, nil, []string{"/bin/sh", "-c", "a b"}},
		{[]string{"CMD-SHELL", "a b"}, []string{"bash", "-ec"}, []string{"bash", "-ec", "a b"}},
	} {
		got := Command(&container.Config{Healthcheck: &container.HealthConfig{Test: tt.test}, Shell: tt.shell})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.test, got, tt.want)
		}
	}
	if Command(&container.Config{}) != nil {
		t.Error("no check has a command")
	}
}

func TestMerge(t *testing.T) {
	image := &container.HealthConfig{Test: []string{"CMD", "x"}, Interval: time.Second, Timeout: 2 * time.Second, Retries: 7}
	got := Merge(&container.HealthConfig{Timeout: 3 * time.Second}, image)
	if !slices.Equal(got.Test, image.Test) || got.Interval != time.Second || got.Timeout != 3*time.Second || got.Retries != 7 {
		t.Errorf("got %+v", got)
	}
	if got := Merge(&container.HealthConfig{Test: []string{"NONE"}}, image); got.Test[0] != "NONE" {
		t.Errorf("got %+v", got)
	}
	if Merge(nil, image) != image || Merge(image, nil) != image {
		t.Error("one alone is taken as it is")
	}
}

func TestNext(t *testing.T) {
	started := time.Now()
	p := PolicyOf(&container.HealthConfig{Retries: 2, StartPeriod: time.Minute})
	h := Begun(nil)
	step := func(after time.Duration, code int, status container.HealthStatus, streak int) {
		t.Helper()
		before := *h
		next := p.Next(h, started, &container.HealthcheckResult{Start: started.Add(after), ExitCode: code})
		if next.Status != status || next.FailingStreak != streak {
			t.Errorf("after %v and code %d: %s, streak %d; want %s, %d", after, code, next.Status, next.FailingStreak, status, streak)
		}
		if h.Status != before.Status || len(h.Log) != len(before.Log) {
			t.Error("the argument was changed")
		}
		h = next
	}
	step(time.Second, 1, container.Starting, 0) // within the start period
	step(2*time.Minute, 1, container.Starting, 1)
	step(3*time.Minute, 1, container.Unhealthy, 2)
	step(4*time.Minute, 1, container.Unhealthy, 3)
	step(5*time.Minute, 0, container.Healthy, 0)
	step(6*time.Minute, -1, container.Healthy, 1)
	step(7*time.Minute, 2, container.Unhealthy, 2)
	if len(h.Log) != maxResults || h.Log[maxResults-1].ExitCode != 2 {
		t.Errorf("%d results are kept", len(h.Log))
	}
	h = Begun(h)
	step(time.Second, 0, container.Healthy, 0)
	step(2*time.Second, 1, container.Healthy, 1) // a success ends the start period
	if e := Ended(h); e.Status != container.Unhealthy || h.Status != container.Healthy || Ended(nil) != nil {
		t.Errorf("ended: %+v", e)
	}
}

func TestWait(t *testing.T) {
	p := PolicyOf(&container.HealthConfig{Interval: time.Minute, StartPeriod: time.Hour, StartInterval: time.Second})
	for _, tt := range []struct {
		status container.HealthStatus
		ran    time.Duration
		want   time.Duration
	}{
		{container.Starting, 0, time.Second}, {container.Starting, 2 * time.Hour, time.Minute}, {container.Healthy, 0, time.Minute},
	} {
		if got := p.Wait(tt.status, tt.ran); got != tt.want {
			t.Errorf("%s after %v: %v", tt.status, tt.ran, got)
		}
	}
	if d := PolicyOf(nil); d.Interval != defaultInterval || d.Retries != defaultRetries || d.StartPeriod != 0 {
		t.Errorf("defaults %+v", d)
	}
}
