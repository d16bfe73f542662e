package image

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
)

// arrived is an image with one layer that came as a gzip blob with a manifest.
func arrived(t *testing.T, e *engine) (id digest.Digest, layer, blob string) {
	t.Helper()
	raw := archive(t, "etc/f")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(raw)
	_ = w.Close()
	d, _, err := e.Blobs().Put(t.Context(), bytes.NewReader(z.Bytes()), "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	info, err := e.Layers().Unpack(t.Context(), bytes.NewReader(z.Bytes()), "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + info.DiffID.String() + `"]}}`)
	name, err := ParseName("web", "1")
	if err != nil {
		t.Fatal(err)
	}
	a := Arrival{Config: cfg, Names: []reference.Named{name}, Documents: [][]byte{[]byte(`{"manifest":1}`)},
		Layers: []ArrivedLayer{{Info: info, Blob: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: int64(z.Len())}}}}
	if id, err = e.Arrive(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	e.release(info.DiffID)
	return id, filepath.Join(e.Root(), "layers/sha256", info.DiffID.Encoded(), "fs/etc/f"), filepath.Join(e.Root(), "blobs/sha256", d.Encoded())
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
			e := openEngine(t, t.TempDir())
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
			if err := e.Repair(t.Context(), report); (err == nil) != tt.repaired {
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
	e := openEngine(t, t.TempDir())
	_, layer, _ := arrived(t, e)
	spoil(t, layer)
	e.InUse = func(string) []Container { return []Container{{ID: "c1"}} }
	report, err := e.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Repair(t.Context(), report); !errors.Is(err, fault.Conflict) {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(layer); string(got) != "spoiled" {
		t.Error("the layer below a container was replaced")
	}
}

func TestRepairFetchesAgain(t *testing.T) {
	e := openEngine(t, t.TempDir())
	id, _, blob := arrived(t, e)
	config := filepath.Join(filepath.Dir(blob), id.Encoded())
	was, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, config)
	e.Refetch = func(_ context.Context, d Damage) error {
		if d.Digest != id {
			t.Errorf("asked for %s", d.Digest)
		}
		return os.WriteFile(config, was, 0o400)
	}
	report, err := e.Check(t.Context())
	if err == nil {
		err = e.Repair(t.Context(), report)
	}
	if err != nil || !report.Damaged[0].Repaired {
		t.Errorf("%+v, %v", report, err)
	}
}
