// Package corpus makes the images that the benchmarks pull: always the same ones, and
// like real file systems in how they compress.
package corpus

import (
	"archive/tar"
	"bytes"
	_ "crypto/sha256" // digests are of it
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Shape is an image by its layers.
type Shape []layerShape

// layerShape is the files of a layer and their size together.
type layerShape struct{ files, bytes int }

var (
	// Big is 500 MB in 6 layers with 18,000 files.
	Big = Shape{{6000, 180e6}, {5000, 120e6}, {3000, 90e6}, {2500, 60e6}, {1000, 40e6}, {500, 10e6}}
	// Thin is 40 MB in 40 layers.
	Thin = func() (all Shape) {
		for range 40 {
			all = append(all, layerShape{3, 1e6})
		}
		return all
	}()
)

// Layers gives the layers by number, and nil after the last.
func (shape Shape) Layers() func(int) ([]byte, error) {
	return func(i int) ([]byte, error) {
		if i == len(shape) {
			return nil, nil
		}
		return makeLayer(i, shape[i])
	}
}

// pack compresses a layer as usual tools do.
func pack(plain []byte, z io.WriteCloser) error {
	_, err := z.Write(plain)
	return errors.Join(err, z.Close())
}

// Layout writes an OCI layout of one image. Its content is the same in each
// run and compresses about 2.5:1, as file systems do.
func Layout(dir string, layer func(int) ([]byte, error), zstandard bool) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o700); err != nil {
		return err
	}
	put := func(raw []byte, mediaType string) (ocispec.Descriptor, error) {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
		return d, os.WriteFile(filepath.Join(dir, "blobs/sha256", d.Digest.Encoded()), raw, 0o600)
	}
	created := time.Unix(1_700_000_000, 0).UTC()
	cfg := ocispec.Image{Created: &created, Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i := 0; ; i++ {
		plain, err := layer(i)
		if err != nil {
			return err
		}
		if plain == nil {
			break
		}
		var buf bytes.Buffer
		var z io.WriteCloser = pgzip.NewWriter(&buf)
		mediaType := ocispec.MediaTypeImageLayerGzip
		if zstandard {
			mediaType = ocispec.MediaTypeImageLayerZstd
			if z, err = zstd.NewWriter(&buf); err != nil {
				return err
			}
		}
		if err := pack(plain, z); err != nil {
			return err
		}
		d, err := put(buf.Bytes(), mediaType)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, d)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(plain))
		cfg.History = append(cfg.History, ocispec.History{Created: &created, CreatedBy: fmt.Sprint("layer ", i)})
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	if m.Config, err = put(raw, ocispec.MediaTypeImageConfig); err != nil {
		return err
	}
	if raw, err = json.Marshal(m); err != nil {
		return err
	}
	d, err := put(raw, ocispec.MediaTypeImageManifest)
	if err != nil {
		return err
	}
	d.Annotations = map[string]string{ocispec.AnnotationRefName: "latest"}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{d}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600)
}

// incompressible is the share of random bytes; the rest is text of a thousand
// words, the common ones often. Together gzip makes 2.5:1 of it.
const incompressible = 0.085

// makeText returns words in lines.
func makeText(random *rand.Rand, size int) []byte {
	const letters = "etaoinshrdlucmfwypvbgkjqxz_.()=0123"
	words := make([][]byte, 1000)
	skewed := func(n int, skew float64) int { return int(float64(n) * math.Pow(random.Float64(), skew)) }
	for i := range words {
		for range 2 + random.IntN(9) {
			words[i] = append(words[i], letters[skewed(len(letters), 1.5)])
		}
		words[i] = append(words[i], ' ')
	}
	text := make([]byte, 0, size+32)
	for len(text) < size {
		text = append(text, words[skewed(len(words), 2)]...)
		if random.IntN(12) == 0 {
			text[len(text)-1] = '\n'
		}
	}
	return text
}

func makeLayer(n int, shape layerShape) ([]byte, error) {
	const block, perDir = 4096, 50
	random := rand.New(rand.NewPCG(7, uint64(n)))
	text := makeText(random, 2<<20)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, content []byte) error {
		h.Size, h.ModTime = int64(len(content)), time.Unix(1_700_000_000, 0)
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	average := shape.bytes / shape.files
	for f := range shape.files {
		dir := fmt.Sprintf("usr/share/l%d/d%d", n, f/perDir)
		if f%perDir == 0 {
			if err := add(tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil); err != nil {
				return nil, err
			}
		}
		size := int(float64(average) * (0.2 + 1.6*random.Float64()))
		content := make([]byte, 0, size+block)
		for len(content) < size {
			if random.Float64() < incompressible {
				for range block / 8 {
					v := random.Uint64()
					content = append(content, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
				}
			} else {
				at := random.IntN(len(text) - block)
				content = append(content, text[at:at+block]...)
			}
		}
		if err := add(tar.Header{Name: fmt.Sprintf("%s/f%d", dir, f), Typeflag: tar.TypeReg, Mode: 0o644}, content[:size]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil { // writes the end marker
		return nil, err
	}
	return buf.Bytes(), nil
}
