package lease

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/state"
)

func held(t *testing.T, s *state.Store, b *Book, now time.Time) map[digest.Digest]bool {
	t.Helper()
	got := map[digest.Digest]bool{}
	add := func(d digest.Digest) { got[d] = true }
	if err := s.View(func(tx *state.Tx) error { return b.Held(tx, now, add, add) }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLeases(t *testing.T) {
	s, err := state.Open(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	blob, layer, other := digest.FromString("blob"), digest.FromString("layer"), digest.FromString("other")
	later := time.Now().Add(2 * keepFor)

	b := Open(s)
	l, err := b.Take("pull web", []digest.Digest{blob}, []digest.Digest{layer})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add([]digest.Digest{other}, nil); err != nil {
		t.Fatal(err)
	}
	if got := held(t, s, b, later); len(got) != 3 {
		t.Errorf("a lease that is worked under holds %d of 3, however old", len(got))
	}

	b = Open(s) // the process died
	if got := held(t, s, b, time.Now()); len(got) != 3 {
		t.Errorf("after a restart %d of 3 are held", len(got))
	}
	if got := held(t, s, b, later); len(got) != 0 {
		t.Errorf("an expired lease holds %v", got)
	}
	again, err := b.Take("pull web", []digest.Digest{blob}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := held(t, s, b, time.Now()); len(got) != 1 || !got[blob] {
		t.Errorf("the retry holds %v, want the blob alone", got)
	}
	second, err := b.Take("pull web", []digest.Digest{other}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := held(t, s, b, time.Now()); len(got) != 2 {
		t.Errorf("a second pull beside the first: %v held", got)
	}
	for _, l := range []*Lease{again, second} {
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if got := held(t, s, b, time.Now()); len(got) != 0 {
		t.Errorf("%v is still held", got)
	}
}
