package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// TestBatchSharesCommits: every change is there or has its own error, whatever
// shared the commit with it, and in the order of the calls.
func TestBatchSharesCommits(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "state.db"))
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			key := fmt.Sprint(i)
			err := s.Batch(func(tx *Tx) error {
				if err := tx.Put("containers", key, object{key}); err != nil {
					return err
				}
				if i%7 == 0 {
					return boom
				}
				return nil
			})
			if (i%7 == 0) != errors.Is(err, boom) {
				t.Errorf("Batch %d = %v", i, err)
			}
		})
	}
	wg.Wait()
	err := s.View(func(tx *Tx) error {
		for i := range 60 {
			if has := tx.Has("containers", fmt.Sprint(i)); has != (i%7 != 0) {
				t.Errorf("change %d is there: %v", i, has)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLaterComesBeforeTheNextBatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := opened(t, path)
	fail := func(err error) { t.Error(err) }
	for i := range 50 {
		s.Later(func(tx *Tx) error { return tx.Put("addresses", "1", object{"old"}) }, fail)
		s.Later(func(tx *Tx) error { return tx.Delete("addresses", "1") }, fail)
		err := s.Batch(func(tx *Tx) error {
			if tx.Has("addresses", "1") {
				t.Errorf("round %d: the change before was not applied", i)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Later(func(tx *Tx) error { return tx.Put("addresses", "2", object{"kept"}) }, fail)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := opened(t, path)
	err := again.View(func(tx *Tx) error {
		if !tx.Has("addresses", "2") {
			t.Error("Close did not wait for a change")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
