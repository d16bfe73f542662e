package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/state"
)

// pack makes an archive of files by name; a name that ends in "@" is a link.
func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}
		if link, ok := strings.CutSuffix(name, "@"); ok {
			h = &tar.Header{Name: link, Typeflag: tar.TypeSymlink, Linkname: text}
			text = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encode(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func configOf(layers ...string) string {
	ids := []digest.Digest{}
	for _, l := range layers {
		ids = append(ids, digest.FromString(l))
	}
	raw, _ := json.Marshal(ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: ids}})
	return string(raw)
}

// Mismatches, confusions and bombs of an archive (A1, A5, G1): each is refused by
// name, and leaves nothing.
func TestLoadRefuses(t *testing.T) {
	layer := string(pack(t, map[string]string{"f": "text"}))
	evil := string(pack(t, map[string]string{"../f": "text"}))
	config := configOf(layer)
	archive := func(config string, layers ...string) string {
		return encode(t, []item{{Config: config, RepoTags: []string{"app:1"}, Layers: layers}})
	}
	blob := func(text string) string { return "blobs/sha256/" + digest.FromString(text).Encoded() }
	desc := func(mediaType, text string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
	}
	manifest := encode(t, ocispec.Manifest{Config: desc(ocispec.MediaTypeImageConfig, config), Layers: []ocispec.Descriptor{desc(ocispec.MediaTypeImageLayer, layer)}})
	index := func(d ocispec.Descriptor) string { return encode(t, ocispec.Index{Manifests: []ocispec.Descriptor{d}}) }
	lie := desc(ocispec.MediaTypeImageManifest, manifest)
	lie.Size++
	self := `{"manifests":[` + strings.Repeat(encode(t, desc("application/x", manifest))+",", maxImages) + encode(t, lie) + `]}`
	nested := manifest
	files := map[string]string{blob(manifest): manifest, blob(config): config, blob(layer): layer}
	top := desc(ocispec.MediaTypeImageManifest, nested)
	for range maxIndexDepth + 2 {
		nested = index(top)
		files[blob(nested)] = nested
		top = desc(ocispec.MediaTypeImageIndex, nested)
	}
	files["index.json"] = index(top)
	confused := `{"manifests":[],"layers":[],"config":{}}`
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":            {map[string]string{"x": "y"}, "neither a manifest.json"},
		"no JSON":            {map[string]string{"manifest.json": "[[["}, "manifest.json"},
		"deep JSON":          {map[string]string{"manifest.json": strings.Repeat("[", 100000)}, "manifest.json"},
		"large JSON":         {map[string]string{"manifest.json": strings.Repeat(" ", image.MaxDocument+1)}, "larger than"},
		"missing config":     {map[string]string{"manifest.json": archive("c.json", "l.tar")}, `no file "c.json"`},
		"config outside":     {map[string]string{"manifest.json": archive("../../../../etc/passwd", "l.tar")}, "no file"},
		"link outside":       {map[string]string{"manifest.json": archive("c", "l"), "c@": "/etc/passwd"}, "no file"},
		"link to itself":     {map[string]string{"manifest.json": archive("c", "l"), "c@": "c"}, "no file"},
		"layer missing":      {map[string]string{"manifest.json": archive("c", "l"), "c": config}, `no file "l"`},
		"too few layers":     {map[string]string{"manifest.json": archive("c"), "c": config}, "layers length mismatch: expected 1, got 0"},
		"no layers":          {map[string]string{"manifest.json": archive("c"), "c": configOf()}, "without layers"},
		"wrong diffID":       {map[string]string{"manifest.json": archive("c", "l"), "c": configOf("other"), "l": layer}, "expected sha256:"},
		"no diffID":          {map[string]string{"manifest.json": archive("c", "l"), "c": `{"rootfs":{"diff_ids":["../../x"]}}`, "l": layer}, "no diffID"},
		"hostile layer":      {map[string]string{"manifest.json": archive("c", "l"), "c": configOf(evil), "l": evil}, "outside of the root"},
		"bad name":           {map[string]string{"manifest.json": encode(t, []item{{Config: "c", RepoTags: []string{"UP:1"}, Layers: []string{"l"}}}), "c": config, "l": layer}, "invalid reference"},
		"missing manifest":   {map[string]string{"index.json": index(desc(ocispec.MediaTypeImageManifest, manifest))}, "no file"},
		"wrong size":         {map[string]string{"index.json": index(lie), blob(manifest): manifest}, "descriptor says"},
		"wrong digest":       {map[string]string{"index.json": index(desc(ocispec.MediaTypeImageManifest, manifest)), blob(manifest): strings.Repeat("x", len(manifest))}, "expected sha256:"},
		"wrong layer digest": {map[string]string{"index.json": index(desc(ocispec.MediaTypeImageManifest, manifest)), blob(manifest): manifest, blob(config): config, blob(layer): strings.Repeat("x", len(layer))}, "expected sha256:"},
		"empty digest":       {map[string]string{"index.json": index(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest})}, "not a sha256 digest"},
		"digest as a path":   {map[string]string{"index.json": index(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:../../etc"})}, "not a sha256 digest"},
		"confused index":     {map[string]string{"index.json": confused}, "both an index and a manifest"},
		"confused manifest":  {map[string]string{"index.json": index(desc(ocispec.MediaTypeImageManifest, confused)), blob(confused): confused}, "both an index and a manifest"},
		"too deep":           {files, "nested more than"},
		"too many":           {map[string]string{"index.json": self, blob(manifest): manifest, blob(config): config, blob(layer): layer}, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := loadService(t)
			var out bytes.Buffer
			err := s.Load(t.Context(), bytes.NewReader(pack(t, tt.files)), LoadOptions{Quiet: true}, &out)
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want %q", err, tt.want)
			}
			if left, _ := filepath.Glob(filepath.Join(root, "load-*")); len(left) > 0 {
				t.Errorf("left %v", left)
			}
			if name != "too many" && s.images.Count() > 0 {
				t.Errorf("%d images appeared", s.images.Count())
			}
		})
	}
}

// Both forms load, with shared layers as old archives have them, and save writes
// an archive whose images do not change any more.
func TestLoadSave(t *testing.T) {
	layer := string(pack(t, map[string]string{"f": "text"}))
	config := configOf(layer, layer)
	archive := pack(t, map[string]string{
		"manifest.json": encode(t, []item{{Config: "c.json", RepoTags: []string{"app:1", "app:2"}, Layers: []string{"a/layer.tar", "b/layer.tar"}}}),
		"c.json":        config, "a/layer.tar": layer, "b/layer.tar@": "../a/layer.tar",
	})
	s, _ := loadService(t)
	var out bytes.Buffer
	if err := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{Quiet: true}, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "Loaded image: app:1") || !strings.Contains(got, "Loaded image: app:2") {
		t.Errorf("got %s", got)
	}
	img, err := s.images.Get(t.Context(), "app:1")
	if err != nil || img.ID != digest.FromString(config) {
		t.Fatalf("%v, %v", img, err)
	}
	save := func(s *engine, names ...string) []byte {
		t.Helper()
		var b bytes.Buffer
		if err := s.Save(t.Context(), names, nil, func() io.Writer { return &b }); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := save(s, "app")
	other, _ := loadService(t)
	if err := other.Load(t.Context(), bytes.NewReader(first), LoadOptions{Quiet: true}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if second := save(other, "app"); !bytes.Equal(first, second) {
		t.Error("save, load, save gave other bytes")
	}
	if got, err := other.images.Get(t.Context(), "app:2"); err != nil || len(got.RepoTags) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	arm := []ocispec.Platform{{OS: "linux", Architecture: "arm64"}}
	if err := other.Load(t.Context(), bytes.NewReader(first), LoadOptions{Quiet: true, Platforms: arm}, io.Discard); !errors.Is(err, fault.NotFound) {
		t.Errorf("another platform: %v", err)
	}
	if err := s.Save(t.Context(), []string{"app:1"}, arm, func() io.Writer { return io.Discard }); !errors.Is(err, fault.NotFound) {
		t.Errorf("another platform: %v", err)
	}
	if err := s.Save(t.Context(), []string{"absent:1"}, nil, func() io.Writer { t.Error("it began"); return io.Discard }); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	report, err := s.images.Prune(t.Context(), image.PruneOptions{})
	if err != nil || len(report.ImagesDeleted) > 0 {
		t.Errorf("prune took names: %+v, %v", report, err)
	}
	report, err = s.images.Prune(t.Context(), image.PruneOptions{Unused: true})
	if err != nil || s.images.Count() != 0 || report.SpaceReclaimed == 0 {
		t.Errorf("prune of unused: %+v, %v, %d left", report, err, s.images.Count())
	}
}

func FuzzLoad(f *testing.F) {
	layer := string(pack(f, map[string]string{"f": "text"}))
	f.Add(pack(f, map[string]string{"manifest.json": `[{"Config":"c","Layers":["l"]}]`, "c": configOf(layer), "l": layer}))
	f.Add(pack(f, map[string]string{"index.json": `{"manifests":[]}`}))
	s, _ := loadService(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		_ = s.Load(context.Background(), bytes.NewReader(raw), LoadOptions{Quiet: true}, io.Discard)
		if _, err := os.Lstat("/f"); err == nil {
			t.Fatal("a file was made on the host")
		}
	})
}

type engine struct {
	*Service
	images *image.Service
}

func loadService(t testing.TB) (*engine, string) {
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
		images.Close()
		store.Close()
	})
	return &engine{New(images), images}, root
}

type silent struct{}

func (silent) Publish(events.Message) {}

// entries reads an archive into its files.
func entries(t testing.TB, raw []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(text)
	}
}
