package state

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

type object struct{ Name string }

func opened(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "state.db"))
	boom := errors.New("boom")
	err := s.Update(func(tx *Tx) error {
		if err := tx.Put("containers", "1", object{"web"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("Update = %v, want boom", err)
	}
	if err := s.View(func(tx *Tx) error {
		if tx.Has("containers", "1") {
			t.Error("a failed transaction left a key")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestValuesSurviveReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := opened(t, path)
	if err := s.Update(func(tx *Tx) error {
		return errors.Join(tx.Put("names", "web", "1"), tx.Put("names", "db", "2"), tx.Delete("names", "db"), tx.Delete("absent", "x"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, path)
	var keys []string
	if err := s.View(func(tx *Tx) error {
		return tx.Each("names", func(k string, _ []byte) error { keys = append(keys, k); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 1 || keys[0] != "web" {
		t.Errorf("keys = %q, want [web]", keys)
	}
}

func TestOneProcessPerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	opened(t, path)
	if _, err := Open(path); !errors.Is(err, fault.Conflict) {
		t.Errorf("second Open = %v, want a conflict", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := opened(t, path)
	if err := s.Update(func(tx *Tx) error { return tx.Put(metaBucket, schemaKey, Schema+1) }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(path); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Open of a newer schema = %v, want unavailable", err)
	}
}

func TestVolatileIsOfOneRunOfTheMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passing.db")
	earlier := path + ".0000"
	if err := os.WriteFile(earlier, []byte("cut off by a power cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := OpenVolatile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenVolatile(path); !errors.Is(err, fault.Conflict) {
			t.Errorf("opened twice: %v", err)
		}
		if err := s.Update(func(tx *Tx) error { return tx.Put("names", "web", "1") }); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(earlier); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of an earlier run is still there: %v", err)
	}
}
