package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/test/hostile/tars"
)

// Every hostile tar goes through every way into the store (A1): as a layer of both
// kinds of archive, as the root of an import, and as the changes of a commit.
func TestHostileTarsThroughEveryWay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: layers need root")
	}
	t.Setenv("TMPDIR", "/dev/shm") // two hundred syncs of a disk take long
	outside := tars.NewCanary(t)
	s, _ := loadService(t)
	base := pack(t, map[string]string{"base": "text"})
	parent, err := s.images.Import(t.Context(), bytes.NewReader(base), image.ImportOptions{Reference: "base:1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, attack := range tars.All(t, outside) {
		raw := string(attack.Raw)
		docker := pack(t, map[string]string{"manifest.json": encode(t, []item{{Config: "c", RepoTags: []string{"evil:1"}, Layers: []string{"l"}}}), "c": configOf(raw), "l": raw})
		for way, enter := range map[string]func() error{
			"load": func() error {
				return s.Load(t.Context(), bytes.NewReader(docker), LoadOptions{Quiet: true}, io.Discard)
			},
			"layout": func() error {
				return s.Load(t.Context(), bytes.NewReader(layoutOf(t, "evil:1", raw)), LoadOptions{Quiet: true}, io.Discard)
			},
			"import": func() error {
				_, err := s.images.Import(t.Context(), strings.NewReader(raw), image.ImportOptions{Reference: "evil:1"}, io.Discard)
				return err
			},
			"commit": func() error {
				_, err := s.images.Commit(t.Context(), strings.NewReader(raw), image.CommitOptions{Parent: parent.String(), Reference: "evil:1"})
				return err
			},
		} {
			t.Run(attack.Name+"/"+way, func(t *testing.T) {
				err := enter()
				if attack.Refused != (err != nil) || err != nil && !errors.Is(err, fault.Invalid) {
					t.Errorf("refused %v, want %v: %v", err != nil, attack.Refused, err)
				}
				outside.Check(t)
				if err == nil {
					roundTrip(t, s)
				}
			})
		}
	}
}

// roundTrip saves what came in, loads it again, and removes it.
func roundTrip(t *testing.T, s *engine) {
	t.Helper()
	was, err := s.images.Get(t.Context(), "evil:1")
	if err != nil {
		t.Fatal(err)
	}
	lossy := false // one of its tars cannot be made again
	for _, id := range was.Layers() {
		info, err := s.images.Layers().Stat(id)
		lossy = lossy || err != nil || info.TarSize == 0
	}
	var b bytes.Buffer
	if err := s.Save(t.Context(), []string{"evil:1"}, nil, func() io.Writer { return &b }); err != nil {
		t.Errorf("save: %v", err)
	}
	if _, err := s.images.Delete(t.Context(), "evil:1", true, true); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := s.Load(t.Context(), &b, LoadOptions{Quiet: true}, io.Discard); err != nil {
		t.Errorf("load of what was saved: %v", err)
	}
	again, err := s.images.Get(t.Context(), "evil:1")
	if err != nil {
		t.Fatal(err)
	}
	if !lossy && again.ID != was.ID {
		t.Errorf("the ID became %s, was %s", again.ID, was.ID)
	}
	if _, err := s.images.Delete(t.Context(), "evil:1", true, true); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// layoutOf is an OCI layout with gzip layers.
func layoutOf(t testing.TB, name string, layers ...string) []byte {
	t.Helper()
	files := map[string]string{}
	blob := func(mediaType, text string) ocispec.Descriptor {
		d := digest.FromString(text)
		files["blobs/sha256/"+d.Encoded()] = text
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(text))}
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: blob(ocispec.MediaTypeImageConfig, configOf(layers...))}
	m.SchemaVersion = 2
	for _, l := range layers {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = io.WriteString(w, l)
		_ = w.Close()
		m.Layers = append(m.Layers, blob(ocispec.MediaTypeImageLayerGzip, z.String()))
	}
	d := blob(ocispec.MediaTypeImageManifest, encode(t, m))
	d.Annotations = map[string]string{nameKey: name}
	files["index.json"] = encode(t, ocispec.Index{Manifests: []ocispec.Descriptor{d}})
	return pack(t, files)
}

// A layout with compressed layers leaves with the bytes that it came with.
func TestCompressedLayersLeaveAsTheyCame(t *testing.T) {
	s, _ := loadService(t)
	lower, upper := string(pack(t, map[string]string{"a": "text"})), string(pack(t, map[string]string{"b": "more"}))
	raw := layoutOf(t, "docker.io/library/app:1", lower, upper)
	load := func(s *engine, raw []byte) {
		t.Helper()
		if err := s.Load(t.Context(), bytes.NewReader(raw), LoadOptions{Quiet: true}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	load(s, raw)
	load(s, raw) // what is there already is not unpacked again, and stays
	var out bytes.Buffer
	if err := s.Save(t.Context(), []string{"app:1"}, nil, func() io.Writer { return &out }); err != nil {
		t.Fatal(err)
	}
	in, left := entries(t, raw), entries(t, out.Bytes())
	for name, text := range in {
		if strings.HasPrefix(name, blobDir) && left[name] != text {
			t.Errorf("%s did not leave", name)
		}
	}
	other, _ := loadService(t)
	load(other, out.Bytes())
	if img, err := other.images.Get(t.Context(), "app:1"); err != nil || len(img.Manifests()) != 0 {
		// A Docker archive's own list comes first, and it has no manifests.
		t.Errorf("%+v, %v", img, err)
	}
}

// A bomb in an archive (A5); package layer tries the other ways.
func TestBombsInArchives(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it decompresses a gigabyte")
	}
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	_, _ = io.CopyN(w, zeros{}, 64<<20)
	_ = w.Close()
	bomb := strings.Repeat(z.String(), 17) // members of a gzip file follow each other
	s, root := loadService(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	archive := pack(t, map[string]string{"manifest.json": encode(t, []item{{Config: "c", Layers: []string{"l"}}}), "c": configOf("x"), "l": bomb})
	if err := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{Quiet: true}, io.Discard); !errors.Is(err, fault.Invalid) {
		t.Errorf("layer: %v", err)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 256<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	s.images.Wait()
	if left, _ := os.ReadDir(root + "/layers/tmp"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzDocuments feeds manifests, indexes and configs to the loader: they may be
// refused, and never panic or name a file of the host.
func FuzzDocuments(f *testing.F) {
	layer := string(pack(f, map[string]string{"f": "text"}))
	f.Add([]byte(`[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]`), []byte(configOf(layer)), []byte(`{"manifests":[]}`))
	f.Add([]byte(`[{"Config":"/etc/passwd"}]`), []byte(`{"rootfs":{"diff_ids":["sha256:"]}}`), []byte(`{"manifests":[{"digest":"sha256:../..","size":-1}]}`))
	d := digest.FromString(configOf(layer))
	manifest, _ := json.Marshal(ocispec.Manifest{Config: ocispec.Descriptor{Digest: d, Size: 1}})
	f.Add([]byte(`null`), []byte(`{}`), manifest)
	s, _ := loadService(f)
	f.Fuzz(func(t *testing.T, list, config, index []byte) {
		docker := pack(t, map[string]string{"manifest.json": string(list), "c": string(config), "l": layer})
		_ = s.Load(context.Background(), bytes.NewReader(docker), LoadOptions{Quiet: true}, io.Discard)
		name := blobDir + digest.FromBytes(index).Encoded()
		top := encode(t, ocispec.Index{Manifests: []ocispec.Descriptor{
			{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(index), Size: int64(len(index))},
			{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(index), Size: int64(len(index))},
		}})
		layout := pack(t, map[string]string{"index.json": top, name: string(index), blobDir + digest.FromBytes(config).Encoded(): string(config), blobDir + digest.FromString(layer).Encoded(): layer})
		_ = s.Load(context.Background(), bytes.NewReader(layout), LoadOptions{Quiet: true}, io.Discard)
	})
}
