package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/test/counts"
)

// Loads of images that share layers, saves, removals and a prune at the same time:
// no error but "no such image", and what is there is whole.
func TestLoadsRemovalsAndPruneAtOnce(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: layers need root")
	}
	s, root := loadService(t)
	shared := string(pack(t, map[string]string{"shared": "by all"}))
	var archives [][]byte
	for i := range 4 {
		own := string(pack(t, map[string]string{fmt.Sprint("own", i): "text"}))
		archives = append(archives, pack(t, map[string]string{
			"manifest.json": encode(t, []item{{Config: "c", RepoTags: []string{fmt.Sprintf("app%d:1", i)}, Layers: []string{"s", "o"}}}),
			"c":             configOf(shared, own), "s": shared, "o": own,
		}))
	}
	absent := func(err error) bool { return errors.Is(err, fault.NotFound) }
	for range counts.Of("image.storm") {
		var wg sync.WaitGroup
		do := func(what string, f func() error) {
			wg.Go(func() {
				if err := f(); err != nil && !absent(err) {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		for i, raw := range archives {
			do("load", func() error { return s.Load(t.Context(), bytes.NewReader(raw), LoadOptions{Quiet: true}, io.Discard) })
			name := fmt.Sprintf("app%d:1", i)
			if i < 2 {
				do("rmi", func() error {
					_, err := s.images.Delete(t.Context(), name, false, true)
					return err
				})
			} else {
				do("save", func() error { return s.Save(t.Context(), []string{name}, nil, func() io.Writer { return io.Discard }) })
			}
		}
		do("prune", func() error {
			_, err := s.images.Prune(t.Context(), image.PruneOptions{Unused: true})
			return err
		})
		do("dry prune", func() error {
			_, err := s.images.Prune(t.Context(), image.PruneOptions{Unused: true, DryRun: true})
			return err
		})
		wg.Wait()
		if report, err := integrity.New(s.images).Check(t.Context()); err != nil || len(report.Damaged) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	if _, err := s.images.Prune(t.Context(), image.PruneOptions{Unused: true}); err != nil {
		t.Fatal(err)
	}
	s.images.Wait()
	for _, dir := range []string{"blobs/sha256", "blobs/ingest", "layers/sha256", "layers/mended", "layers/tmp"} {
		if left, err := os.ReadDir(root + "/" + dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v, %v", dir, left, err)
		}
	}
}
