package content

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
)

func open(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ingesting(t *testing.T, s *Store) int {
	t.Helper()
	entries, err := os.ReadDir(s.ingest)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestPutReadDelete(t *testing.T) {
	s := open(t, t.TempDir())
	want := digest.FromString("hello")
	for range 2 {
		d, n, err := s.Put(t.Context(), strings.NewReader("hello"), want, 5)
		if err != nil || d != want || n != 5 {
			t.Fatalf("Put = %s, %d, %v", d, n, err)
		}
	}
	if got, err := s.Read(want, 5); err != nil || string(got) != "hello" {
		t.Errorf("Read = %q, %v", got, err)
	}
	if _, err := s.Read(want, 4); !errors.Is(err, fault.Invalid) {
		t.Errorf("Read past its limit = %v", err)
	}
	if st, err := os.Stat(s.path(want)); err != nil || st.Mode().Perm() != blobMode {
		t.Errorf("blob: %v, %v", st, err)
	}
	var list []digest.Digest
	if err := s.Walk(func(d digest.Digest) error { list = append(list, d); return nil }); err != nil || !slices.Equal(list, []digest.Digest{want}) {
		t.Errorf("Walk = %v, %v", list, err)
	}
	if !s.Has(want) {
		t.Error("Has = false")
	}
	for range 2 {
		if err := s.Delete(want); err != nil {
			t.Fatal(err)
		}
	}
	if s.Has(want) {
		t.Error("still there")
	}
	if _, err := s.Read(want, 5); !errors.Is(err, fault.NotFound) {
		t.Errorf("Read of nothing = %v", err)
	}
}

func TestFailedPutLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	gone := errors.New("gone")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		r    io.Reader
		want digest.Digest
		is   error
	}{
		"wrong digest": {t.Context(), strings.NewReader("x"), digest.FromString("y"), fault.Invalid},
		"too large":    {t.Context(), strings.NewReader(strings.Repeat("x", 101)), "", fault.Invalid},
		"source fails": {t.Context(), io.MultiReader(strings.NewReader("x"), failing{gone}), "", gone},
		"cancelled":    {cancelled, strings.NewReader("x"), "", context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := s.Put(test.ctx, test.r, test.want, 100); !errors.Is(err, test.is) {
				t.Errorf("Put = %v, want %v", err, test.is)
			}
			if n := ingesting(t, s); n != 0 {
				t.Errorf("%d files left", n)
			}
			if err := s.Walk(func(d digest.Digest) error { t.Errorf("blob %s appeared", d); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestOpenRemovesUnfinishedIngests(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	if err := os.WriteFile(filepath.Join(s.ingest, "blob-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _, err := s.Put(t.Context(), strings.NewReader("whole"), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, root)
	if n := ingesting(t, s); n != 0 {
		t.Errorf("%d files left", n)
	}
	if !s.Has(d) {
		t.Error("a whole blob is lost")
	}
}

func TestDamagedBlobIsNotRead(t *testing.T) {
	s := open(t, t.TempDir())
	d, _, err := s.Put(t.Context(), strings.NewReader("right"), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path(d)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(d), []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(d, 10); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), d.String()) {
		t.Errorf("Read = %v", err)
	}
}

func TestDigestsAreNoPaths(t *testing.T) {
	s := open(t, t.TempDir())
	for _, d := range []digest.Digest{"", "sha256:", "sha256:../../../etc/passwd", "md5:abc", "sha512:" + digest.Digest(strings.Repeat("a", 128)), "sha256:" + digest.Digest(strings.Repeat("A", 64))} {
		if _, err := s.Open(d); !errors.Is(err, fault.Invalid) {
			t.Errorf("Open(%q) = %v", d, err)
		}
		if err := s.Delete(d); !errors.Is(err, fault.Invalid) {
			t.Errorf("Delete(%q) = %v", d, err)
		}
		if s.Has(d) {
			t.Errorf("Has(%q)", d)
		}
	}
}

// A blob that was damaged on disk heals when it is put again.
func TestPutHeals(t *testing.T) {
	for name, spoiled := range map[string]string{"shorter": "x", "same size": "hellO", "empty": ""} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			d, _, err := s.Put(t.Context(), strings.NewReader("hello"), "", 5)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(s.path(d), 0o600), os.WriteFile(s.path(d), []byte(spoiled), 0o600)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Put(t.Context(), strings.NewReader("hello"), d, 5); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Read(d, 5); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
