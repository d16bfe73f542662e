package index

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

// stores are those of one daemon.
type stores struct{ durable, passing *state.Store }

func load(t *testing.T, s stores) *Index {
	t.Helper()
	x, err := Load(s.durable, s.passing, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func openStore(t *testing.T) stores {
	t.Helper()
	durable, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	passing, err := state.OpenVolatile(filepath.Join(t.TempDir(), "passing.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { durable.Close(); passing.Close() })
	return stores{durable, passing}
}

// add makes a container whose id begins with its number.
func add(t *testing.T, x *Index, n int, name string) *record.Record {
	t.Helper()
	r := &record.Record{ID: fmt.Sprintf("%012x%052x", n, 0), Name: name, Created: time.Unix(int64(n), 0),
		Config: &container.Config{}, HostConfig: &container.HostConfig{AutoRemove: true}}
	r.State.Status = container.StateCreated
	if _, err := x.Reserve(name, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := x.Add(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFind(t *testing.T) {
	store := openStore(t)
	x := load(t, store)
	one, two := add(t, x, 0xab1, "one"), add(t, x, 0xab2, "two")
	for _, x := range []*Index{x, load(t, store)} {
		for _, tt := range []struct {
			ref, id string
			class   error
		}{
			{"one", one.ID, nil},
			{"/two", two.ID, nil},
			{two.ID, two.ID, nil},
			{two.ID[:12], two.ID, nil},
			{two.ID[:11], "", fault.Invalid}, // begins both
			{"on", "", fault.NotFound},       // names have no prefixes
			{"", "", fault.NotFound},
		} {
			e, err := x.Find(tt.ref)
			if !errors.Is(err, tt.class) || err == nil && e.ID != tt.id {
				t.Errorf("find %q: %v, %v", tt.ref, e, err)
			}
		}
		if all := x.All(); len(all) != 2 || all[0].ID != two.ID {
			t.Errorf("not the newest first: %v", all)
		}
	}
}

func TestReserve(t *testing.T) {
	x := load(t, openStore(t))
	if _, err := x.Reserve("web", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Reserve("web", "2"); !errors.Is(err, fault.Conflict) {
		t.Errorf("a taken name gave %v", err)
	}
	x.Unreserve("web", "2") // not its own
	if _, err := x.Reserve("web", "2"); !errors.Is(err, fault.Conflict) {
		t.Errorf("a name was freed for another: %v", err)
	}
	x.Unreserve("web", "1")
	if _, err := x.Reserve("web", "2"); err != nil {
		t.Errorf("a freed name gave %v", err)
	}
	if name, err := x.Reserve("", "3"); err != nil || name == "" || name == "web" {
		t.Errorf("invented %q, %v", name, err)
	}
}

func TestForbiddenTransition(t *testing.T) {
	e := newEntry(&record.Record{ID: "x", State: record.State{Status: container.StateRemoving}})
	if _, err := e.Begin(container.StateRunning, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("a forbidden transition gave %v", err)
	}
}

func TestDepartedAreBounded(t *testing.T) {
	store := openStore(t)
	x := load(t, store)
	var all []*record.Record
	for n := range maxDepartedKept + 10 {
		r := add(t, x, n, fmt.Sprint("x", n)).Clone()
		r.State.ExitCode = n % 256
		all = append(all, r)
		if err := x.Forget(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []*Index{x, load(t, store)} {
		if _, ok := x.Departed(all[0].ID); ok || len(x.departed.exits) != maxDepartedKept {
			t.Errorf("%d are kept", len(x.departed.exits))
		}
		last := all[len(all)-1]
		if code, ok := x.Departed(last.ID); !ok || code != last.State.ExitCode {
			t.Errorf("the last: %d, %v", code, ok)
		}
	}
}
