package transfer

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/image/integrity"
	"github.com/sampan-containers/sampan/registry/auth"
	"github.com/sampan-containers/sampan/test/hostile"
)

// What is damaged comes again from the registry that it came from: every blob, and
// a layer whose compressed form is gone, too; and what the registry has then is
// verified as in a pull.
func TestRepairFromTheRegistry(t *testing.T) {
	r := hostile.New(t, "")
	layers := []hostile.Layer{hostile.Gzip(t, tarOf(t, "lower", 200_000)), hostile.Zstd(t, tarOf(t, "upper", 5000))}
	made := r.Add(t, "one", layers, nil)
	index := r.Index(t, "all", made.Entry(&ocispec.Platform{OS: "linux", Architecture: "amd64"}))
	blob := func(l *lab, d digest.Digest) string { return filepath.Join(l.root, "blobs/sha256", d.Encoded()) }
	layer := func(l *lab, i int) string {
		return filepath.Join(l.root, "layers/sha256", digest.FromBytes(layers[i].Plain).Encoded())
	}
	spoil := func(t *testing.T, path string) {
		t.Helper()
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("spoiled"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(t *testing.T, path string) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	lie := func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, made.Layers[0].Digest.Encoded()) {
			return false
		}
		_, _ = w.Write(make([]byte, made.Layers[0].Size))
		return true
	}
	for name, tt := range map[string]struct {
		damage  func(t *testing.T, l *lab)
		trick   hostile.Trick
		damaged int
		failure string
	}{
		"config":      {func(t *testing.T, l *lab) { spoil(t, blob(l, made.ID)) }, nil, 1, ""},
		"config gone": {func(t *testing.T, l *lab) { gone(t, blob(l, made.ID)) }, nil, 1, ""},
		"manifest":    {func(t *testing.T, l *lab) { spoil(t, blob(l, made.Manifest)) }, nil, 1, ""},
		"index":       {func(t *testing.T, l *lab) { spoil(t, blob(l, index)) }, nil, 1, ""},
		"blob":        {func(t *testing.T, l *lab) { spoil(t, blob(l, made.Layers[0].Digest)) }, nil, 1, ""},
		"layer and blob": {func(t *testing.T, l *lab) {
			spoil(t, filepath.Join(layer(l, 0), "fs/lower"))
			gone(t, blob(l, made.Layers[0].Digest))
		}, nil, 2, ""},
		"everything": {func(t *testing.T, l *lab) {
			for _, d := range []digest.Digest{made.ID, made.Manifest, index, made.Layers[0].Digest, made.Layers[1].Digest} {
				spoil(t, blob(l, d))
			}
			gone(t, layer(l, 0))
			gone(t, layer(l, 1))
		}, nil, 7, ""},
		"the registry lies": {func(t *testing.T, l *lab) {
			gone(t, layer(l, 0))
			gone(t, blob(l, made.Layers[0].Digest))
		}, lie, 2, "expected " + made.Layers[0].Digest.String()},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.mustPull(t, r.Host()+"/team/web:all")
			r.Play(tt.trick)
			defer r.Play(nil)
			tt.damage(t, l)
			check := integrity.New(l.images)
			report, err := check.Check(t.Context())
			if err != nil || len(report.Damaged) != tt.damaged {
				t.Fatalf("found %+v, %v; want %d", report, err, tt.damaged)
			}
			err = check.Repair(t.Context(), report, l.fetch)
			if tt.failure != "" {
				if err == nil || !strings.Contains(err.Error(), tt.failure) {
					t.Errorf("repair: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("repair: %v", err)
			}
			again, err := check.Check(t.Context())
			if err != nil || len(again.Damaged) != 0 {
				t.Errorf("after the repair: %+v, %v", again, err)
			}
			if _, err := os.Stat(filepath.Join(layer(l, 0), "fs/lower")); err != nil {
				t.Error(err)
			}
			if _, err := l.images.Delete(t.Context(), r.Host()+"/team/web:all", true, true); err != nil {
				t.Error(err)
			}
			l.clean(t)
		})
	}
}

func (l *lab) fetch(ctx context.Context, d image.Damage) error {
	return l.Refetch(ctx, d, func(string) auth.Credentials { return auth.Credentials{} })
}
