package integrity

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/klauspost/compress/gzip"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/state"
)

type silent struct{}

func (silent) Publish(events.Message) {}

type engine struct {
	*Service
	root string
}

func openEngine(t *testing.T) *engine {
	t.Helper()
	root := t.TempDir()
	store, err := state.Open(filepath.Join(root, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	images, err := image.New(image.Config{Root: root, Log: slog.New(slog.DiscardHandler)}, store, silent{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		images.Wait()
		if err := errors.Join(images.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return &engine{New(images), root}
}

// arrived is an image with one layer that came as a gzip blob with a manifest.
func arrived(t *testing.T, e *engine) (id digest.Digest, layer, blob string) {
	t.Helper()
	var raw, z bytes.Buffer
	w := tar.NewWriter(&raw)
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/f", Mode: 0o644, Size: 1})
	_, _ = w.Write([]byte("f"))
	_ = w.Close()
	zw := gzip.NewWriter(&z)
	_, _ = zw.Write(raw.Bytes())
	_ = zw.Close()
	d, _, err := e.images.Blobs().Put(t.Context(), bytes.NewReader(z.Bytes()), "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	info, err := e.images.Layers().Unpack(t.Context(), bytes.NewReader(z.Bytes()), "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + info.DiffID.String() + `"]}}`)
	name, err := image.ParseName("web", "1")
	if err != nil {
		t.Fatal(err)
	}
	a := image.Arrival{Config: cfg, Names: []reference.Named{name}, Documents: [][]byte{[]byte(`{"manifest":1}`)},
		Layers: []image.ArrivedLayer{{Info: info, Blob: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(z.Len())}}}}
	if id, err = e.images.Arrive(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	e.images.Unhold([]digest.Digest{info.DiffID}, nil)
	return id, filepath.Join(e.root, "layers/sha256", info.DiffID.Encoded(), "fs/etc/f"), filepath.Join(e.root, "blobs/sha256", d.Encoded())
}

func spoil(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("spoiled"), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestCheckAndRepair(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil    func(t *testing.T, id digest.Digest, layer, blob string)
		damaged  int
		repaired bool
	}{
		"whole": {func(*testing.T, digest.Digest, string, string) {}, 0, true},
		"layer": {func(t *testing.T, _ digest.Digest, layer, _ string) { spoil(t, layer) }, 1, true},
		"blob":  {func(t *testing.T, _ digest.Digest, _, blob string) { spoil(t, blob) }, 1, true},
		"both":  {func(t *testing.T, _ digest.Digest, layer, blob string) { spoil(t, layer); spoil(t, blob) }, 2, false},
		"layer gone": {func(t *testing.T, _ digest.Digest, layer, _ string) {
			if err := os.RemoveAll(filepath.Join(filepath.Dir(layer), "../..")); err != nil {
				t.Fatal(err)
			}
		}, 1, true},
		"layer.json": {func(t *testing.T, _ digest.Digest, layer, _ string) {
			spoil(t, filepath.Join(filepath.Dir(layer), "../../layer.json"))
		}, 1, true},
		"recipe": {func(t *testing.T, _ digest.Digest, layer, _ string) {
			spoil(t, filepath.Join(filepath.Dir(layer), "../../tar.zst"))
		}, 1, true},
		"config": {func(t *testing.T, id digest.Digest, _, blob string) {
			spoil(t, filepath.Join(filepath.Dir(blob), id.Encoded()))
		}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t)
			id, layer, blob := arrived(t, e)
			tt.spoil(t, id, layer, blob)
			report, err := e.Check(t.Context())
			if err != nil || len(report.Damaged) != tt.damaged || report.Layers != 1 || report.Blobs != 3 {
				t.Fatalf("%+v, %v", report, err)
			}
			for _, d := range report.Damaged {
				if strings.Join(d.Images, " ") != "web:1" || d.Reason == "" {
					t.Errorf("%+v", d)
				}
			}
			if err := e.Repair(t.Context(), report, nil); (err == nil) != tt.repaired {
				t.Errorf("repair: %v", err)
			}
			again, err := e.Check(t.Context())
			if err != nil || (len(again.Damaged) == 0) != tt.repaired {
				t.Errorf("after the repair: %+v, %v", again, err)
			}
		})
	}
}

func TestRepairLeavesWhatContainersUse(t *testing.T) {
	e := openEngine(t)
	_, layer, _ := arrived(t, e)
	spoil(t, layer)
	e.images.InUse = func(string) []image.Container { return []image.Container{{ID: "c1"}} }
	report, err := e.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Repair(t.Context(), report, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(layer); string(got) != "spoiled" {
		t.Error("the layer below a container was replaced")
	}
}

func TestRepairFetchesAgain(t *testing.T) {
	e := openEngine(t)
	id, _, blob := arrived(t, e)
	config := filepath.Join(filepath.Dir(blob), id.Encoded())
	was, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, config)
	fetch := func(_ context.Context, d image.Damage) error {
		if d.Digest != id {
			t.Errorf("asked for %s", d.Digest)
		}
		return os.WriteFile(config, was, 0o400)
	}
	report, err := e.Check(t.Context())
	if err == nil {
		err = e.Repair(t.Context(), report, fetch)
	}
	if err != nil || !report.Damaged[0].Repaired {
		t.Errorf("%+v, %v", report, err)
	}
}
