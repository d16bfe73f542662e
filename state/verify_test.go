package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/fault"
)

// sample writes a store with pages of each kind: small buckets that lie in their
// parent's page, one of several levels, and a value that overflows its page.
func sample(t testing.TB) (path string, raw []byte) {
	path = filepath.Join(t.TempDir(), "state.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(tx *Tx) error {
		for i := range 300 {
			if err := tx.Put("names", fmt.Sprintf("name-%05d", i*7919%300), object{strings.Repeat("x", i%90)}); err != nil {
				return err
			}
		}
		return errors.Join(tx.Put("small", "one", 1), tx.Put("large", "one", strings.Repeat("large ", 5_000)))
	}
	drop := func(tx *Tx) error {
		var errs []error
		for i := range 100 {
			errs = append(errs, tx.Delete("names", fmt.Sprintf("name-%05d", i*2)))
		}
		return errors.Join(errs...)
	}
	if err := errors.Join(s.Update(fill), s.Update(drop), s.Close()); err != nil {
		t.Fatal(err)
	}
	raw, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, raw
}

// usable opens a store, reads and changes all of it. It fails the test where the store
// is neither refused nor usable; a panic of bbolt ends the test program.
func usable(t *testing.T, path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	var v any
	err = s.Update(func(tx *Tx) error {
		for _, bucket := range []string{"names", "small", "large"} {
			var keys []string
			if err := tx.Each(bucket, func(k string, _ []byte) error { keys = append(keys, k); return nil }); err != nil {
				return err
			}
			for _, k := range keys {
				if _, err := tx.Get(bucket, k, &v); err != nil {
					return err
				}
				if err := tx.Put(bucket, k, v); err != nil {
					return err
				}
			}
		}
		return tx.Put("new", "one", 1)
	})
	if err != nil {
		t.Errorf("a store that was opened cannot be used: %v", err)
	}
	return nil
}

// refused checks the sentence for the user.
func refused(t *testing.T, err error, path string) {
	t.Helper()
	if fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a damaged store: %v", err)
	}
}

func TestDamagedStoreIsRefused(t *testing.T) {
	path, raw := sample(t)
	write := func(raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := usable(t, path); err != nil {
		t.Fatalf("a store that is whole: %v", err)
	}
	const pageSize = 4096
	// A page may be one that nothing refers to, and of two metas one is enough: then
	// the store is usable. Each page of the sample is hit.
	hit := map[string]int{}
	for n := range len(raw) / pageSize {
		for name, damage := range map[string]func([]byte) []byte{
			"zeroes": func(b []byte) []byte { clear(b[n*pageSize : (n+1)*pageSize]); return b },
			"cut":    func(b []byte) []byte { return b[:n*pageSize+100] },
			"swapped": func(b []byte) []byte {
				copy(b[n*pageSize:(n+1)*pageSize], raw[(n*31+5)%(len(raw)/pageSize)*pageSize:])
				return b
			},
			"ones":      func(b []byte) []byte { fill(b[n*pageSize : (n+1)*pageSize]); return b },
			"header":    func(b []byte) []byte { fill(b[n*pageSize+8 : n*pageSize+16]); return b },
			"elements":  func(b []byte) []byte { fill(b[n*pageSize+20 : n*pageSize+60]); return b },
			"half zero": func(b []byte) []byte { clear(b[n*pageSize+pageSize/2 : (n+1)*pageSize]); return b },
		} {
			write(damage(append([]byte(nil), raw...)))
			if err := usable(t, path); err != nil {
				hit[name]++
				refused(t, err, path)
			}
		}
	}
	for name, n := range hit {
		if n < 5 {
			t.Errorf("%s: only %d pages were refused", name, n)
		}
	}
	if len(hit) != 7 {
		t.Errorf("kinds of damage that were seen: %v", hit)
	}
}

func fill(b []byte) {
	for i := range b {
		b[i] = 0xff
	}
}

func TestTextIsNoStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no store\n", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	refused(t, err, path)
}

// FuzzVerify looks for a file that bbolt panics on and verify lets pass.
func FuzzVerify(f *testing.F) {
	_, raw := sample(f)
	f.Add(0, []byte{0})
	f.Add(4096*3+8, []byte{1, 0, 200})
	f.Add(4096*5+16, []byte{0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, at int, change []byte) {
		path := filepath.Join(t.TempDir(), "state.db")
		damaged := append([]byte(nil), raw...)
		if at < 0 || at >= len(damaged) {
			return
		}
		copy(damaged[at:], change)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := usable(t, path); err != nil {
			refused(t, err, path)
		}
	})
}
