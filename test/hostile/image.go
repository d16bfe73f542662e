package hostile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is one layer of an image under construction.
type Layer struct {
	Plain, Blob []byte
	MediaType   string
}

// Tar makes the tar of files, by name.
func Tar(t testing.TB, files map[string][]byte, order ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range order {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Gzip makes a layer of a tar.
func Gzip(t testing.TB, plain []byte) Layer {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return Layer{plain, buf.Bytes(), ocispec.MediaTypeImageLayerGzip}
}

// Zstd makes a layer of a tar.
func Zstd(t testing.TB, plain []byte) Layer {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return Layer{plain, z.EncodeAll(plain, nil), ocispec.MediaTypeImageLayerZstd}
}

// Image is what Add made.
type Image struct {
	ID, Manifest digest.Digest
	Config       ocispec.Descriptor
	Layers       []ocispec.Descriptor
	Size         int64 // of the manifest
}

// Add puts an image of OCI types into the registry under a tag. change may alter
// its parts before they are written: that is where lies are told.
func (r *Registry) Add(t testing.TB, tag string, layers []Layer, change func(cfg *ocispec.Image, m *ocispec.Manifest)) Image {
	t.Helper()
	cfg := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	r.Lock()
	for _, l := range layers {
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(l.Plain))
		d := ocispec.Descriptor{MediaType: l.MediaType, Digest: digest.FromBytes(l.Blob), Size: int64(len(l.Blob))}
		r.Blobs[d.Digest] = l.Blob
		m.Layers = append(m.Layers, d)
	}
	r.Unlock()
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	if change != nil {
		change(&cfg, &m)
	}
	raw := encode(t, cfg)
	if m.Config.Digest == "" {
		m.Config.Digest = digest.FromBytes(raw)
	}
	if m.Config.Size == 0 {
		m.Config.Size = int64(len(raw))
	}
	r.Lock()
	r.Blobs[digest.FromBytes(raw)] = raw
	r.Unlock()
	text := encode(t, m)
	d := r.Put(tag, Manifest{m.MediaType, text})
	return Image{ID: digest.FromBytes(raw), Manifest: d, Config: m.Config, Layers: m.Layers, Size: int64(len(text))}
}

// Index puts an index of images under a tag.
func (r *Registry) Index(t testing.TB, tag string, list ...ocispec.Descriptor) digest.Digest {
	t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list}
	return r.Put(tag, Manifest{ocispec.MediaTypeImageIndex, encode(t, index)})
}

// Entry describes an image in an index.
func (i Image) Entry(platform *ocispec.Platform) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: i.Manifest, Size: i.Size, Platform: platform}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
