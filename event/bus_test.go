package event

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/sampan-containers/sampan/event/filter"
)

func next(t *testing.T, s *Subscription) events.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSubscribersGetNewEvents(t *testing.T) {
	b := New()
	one, two := b.Subscribe(time.Time{}, time.Time{}, nil), b.Subscribe(time.Time{}, time.Time{}, filter.Args{"type": {"image"}})
	defer one.Close()
	defer two.Close()
	b.Emit(events.ContainerEventType, events.ActionStart, "c1", map[string]string{"image": "web"})
	b.Emit(events.ImageEventType, events.ActionTag, "i1", nil)
	if m := next(t, one); m.Actor.ID != "c1" || m.Scope != "local" || m.Time == 0 || m.TimeNano/1e9 != m.Time {
		t.Errorf("first event: %+v", m)
	}
	if m := next(t, one); m.Actor.ID != "i1" {
		t.Errorf("second event: %+v", m)
	}
	if m := next(t, two); m.Actor.ID != "i1" {
		t.Errorf("filtered event: %+v", m)
	}
	if b.Subscribers() != 2 {
		t.Errorf("Subscribers = %d", b.Subscribers())
	}
}

func TestJournalKeepsTheNewest(t *testing.T) {
	b := New()
	padding := strings.Repeat("x", 1000)
	const total = 5 * halfSize / 1000
	for i := 1; i <= total; i++ {
		b.Publish(events.Message{Actor: events.Actor{ID: fmt.Sprint(i), Attributes: map[string]string{"p": padding}}, TimeNano: int64(i)})
	}
	past := b.Past(time.Unix(0, 1), time.Time{}, nil)
	if len(past) < 800 || len(past) > 2*halfSize/1000 {
		t.Fatalf("%d events are kept", len(past))
	}
	for i, m := range past {
		if want := fmt.Sprint(total - len(past) + 1 + i); m.Actor.ID != want {
			t.Fatalf("event %d is %s, want %s", i, m.Actor.ID, want)
		}
	}
	past = b.Past(time.Unix(0, total-5), time.Unix(0, total-3), nil)
	if len(past) != 3 || past[0].Actor.ID != fmt.Sprint(total-5) {
		t.Errorf("three of the last: %v", past)
	}
	if len(b.Past(time.Time{}, time.Time{}, nil)) != 0 {
		t.Error("without since and until there is no past")
	}
	b.Publish(events.Message{Actor: events.Actor{ID: "huge", Attributes: map[string]string{"p": strings.Repeat("x", halfSize)}}, TimeNano: total + 1})
	if again := b.Past(time.Unix(0, total), time.Time{}, nil); len(again) != 1 {
		t.Errorf("after an event that does not fit: %d", len(again))
	}
}

// What was published is there for the next daemon, whether this one ended or was
// killed, and after a reboot if it ended.
func TestJournalOutlivesTheDaemon(t *testing.T) {
	for _, how := range []string{"killed", "ended", "rebooted"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			path, saved := filepath.Join(dir, "run"), filepath.Join(dir, "saved")
			first := New()
			if err := first.Keep(path, saved); err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				first.Emit(events.ContainerEventType, events.ActionStart, fmt.Sprint(i), nil)
			}
			if how != "killed" {
				if err := first.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if how == "rebooted" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			second := New()
			if err := second.Keep(path, saved); err != nil {
				t.Fatal(err)
			}
			second.Emit(events.ContainerEventType, events.ActionDie, "10", nil)
			past := second.Past(time.Unix(1, 0), time.Time{}, nil)
			if len(past) != 11 {
				t.Fatalf("%d events of 11", len(past))
			}
			for i, m := range past {
				if m.Actor.ID != fmt.Sprint(i) || i > 0 && m.TimeNano <= past[i-1].TimeNano {
					t.Errorf("event %d: %+v", i, m)
				}
			}
		})
	}
}

func TestDamagedJournal(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "noise": strings.Repeat("\xff", 2*halfSize), "text": strings.Repeat("events ", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "run")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			b := New()
			if err := b.Keep(path, filepath.Join(t.TempDir(), "missing")); err != nil {
				t.Fatal(err)
			}
			b.Emit(events.ContainerEventType, events.ActionStart, "c", nil)
			if past := b.Past(time.Unix(1, 0), time.Time{}, nil); len(past) != 1 {
				t.Errorf("%d events", len(past))
			}
		})
	}
}

func FuzzJournal(f *testing.F) {
	j := newJournal()
	j.add([]byte(`{"Type":"container"}`))
	f.Add(j.copyAll())
	f.Fuzz(func(t *testing.T, raw []byte) {
		each(raw, func(events.Message) bool { return true })
	})
}

// A reader that subscribes while others publish sees each event once: the
// replay and the live part have neither a gap nor an overlap.
func TestReplayHasNoGap(t *testing.T) {
	b := New()
	const total = 200
	var publish sync.WaitGroup
	publish.Go(func() {
		for i := range total {
			b.Emit(events.ContainerEventType, events.ActionStart, fmt.Sprint(i), nil)
		}
	})
	s := b.Subscribe(time.Unix(1, 0), time.Time{}, nil)
	defer s.Close()
	for i := range total {
		if m := next(t, s); m.Actor.ID != fmt.Sprint(i) {
			t.Fatalf("event %d is %s", i, m.Actor.ID)
		}
	}
	publish.Wait()
}

func TestTimesNeverGoBack(t *testing.T) {
	b := New()
	future := time.Now().Add(time.Hour).UnixNano()
	b.Publish(events.Message{TimeNano: future})
	b.Emit(events.DaemonEventType, events.ActionReload, "d", nil)
	past := b.Past(time.Unix(0, future), time.Time{}, nil)
	if len(past) != 2 || past[1].TimeNano <= past[0].TimeNano {
		t.Errorf("times: %v", past)
	}
}

func TestSlowReaderIsEnded(t *testing.T) {
	b := New()
	slow, good := b.Subscribe(time.Time{}, time.Time{}, nil), b.Subscribe(time.Time{}, time.Time{}, nil)
	defer slow.Close()
	defer good.Close()
	for range queueLimit + 1 {
		b.Emit(events.ContainerEventType, events.ActionStart, "c", nil) // must not block
		next(t, good)
	}
	if _, err := slow.Next(context.Background()); !errors.Is(err, ErrSlow) {
		t.Errorf("slow reader: %v, want ErrSlow", err)
	}
	if n := b.Subscribers(); n != 1 {
		t.Errorf("%d subscribers, want the good one alone", n)
	}
	b.Emit(events.ContainerEventType, events.ActionDie, "c", nil)
	if m := next(t, good); m.Action != events.ActionDie {
		t.Errorf("the good reader got %v", m)
	}
}

func TestNextEnds(t *testing.T) {
	b := New()
	s := b.Subscribe(time.Time{}, time.Time{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := s.Next(context.Background())
		ended <- err
	}()
	s.Close()
	s.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if b.Subscribers() != 0 {
		t.Error("a closed subscription is still registered")
	}
}

func TestMatch(t *testing.T) {
	start := events.Message{Type: "container", Action: "start", Scope: "local",
		Actor: events.Actor{ID: "abcdef", Attributes: map[string]string{"name": "web", "image": "reg.example/app:1", "env": "prod"}}}
	exec := events.Message{Type: "container", Action: "exec_start: sh -c true", Actor: events.Actor{ID: "abcdef"}}
	tag := events.Message{Type: "image", Action: "tag", Actor: events.Actor{ID: "sha256:1", Attributes: map[string]string{"name": "app:1"}}}
	cases := []struct {
		name string
		f    filter.Args
		m    events.Message
		want bool
	}{
		{"empty", nil, start, true},
		{"type", filter.Args{"type": {"container"}}, start, true},
		{"other type", filter.Args{"type": {"image"}}, start, false},
		{"one of two actions", filter.Args{"event": {"die", "start"}}, start, true},
		{"action is exact", filter.Args{"event": {"star"}}, start, false},
		{"exec by bare name", filter.Args{"event": {"exec_start"}}, exec, true},
		{"id prefix", filter.Args{"container": {"abc"}}, start, true},
		{"name", filter.Args{"container": {"web"}}, start, true},
		{"other container", filter.Args{"container": {"db"}}, start, false},
		{"image without tag", filter.Args{"image": {"reg.example/app"}}, start, true},
		{"image with tag", filter.Args{"image": {"reg.example/app:1"}}, start, true},
		{"other tag", filter.Args{"image": {"reg.example/app:2"}}, start, false},
		{"image event", filter.Args{"image": {"app"}}, tag, true},
		{"label", filter.Args{"label": {"env"}}, start, true},
		{"label value", filter.Args{"label": {"env=prod"}}, start, true},
		{"all labels must match", filter.Args{"label": {"env=prod", "x"}}, start, false},
		{"scope", filter.Args{"scope": {"swarm"}}, start, false},
		{"terms are combined", filter.Args{"type": {"container"}, "event": {"die"}}, start, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := Match(tc.f, tc.m); got != tc.want {
				t.Errorf("Match(%v) = %v, want %v", tc.f, got, tc.want)
			}
		})
	}
}

func BenchmarkPublish(b *testing.B) {
	bus := New()
	for range 8 {
		s := bus.Subscribe(time.Time{}, time.Time{}, filter.Args{"type": {"image"}})
		defer s.Close()
	}
	for b.Loop() {
		bus.Emit(events.ContainerEventType, events.ActionStart, "c", nil)
	}
}
