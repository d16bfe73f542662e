package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/distribution/reference"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
)

// copyBuffer is what one write takes of a blob.
const copyBuffer = 1 << 20

// Save writes images as an archive that is both a Docker archive and an OCI
// layout. A name without a tag stands for all tags of its repository. begin
// returns where the bytes go; before it, errors can be a status.
func (s *Service) Save(ctx context.Context, names []string, platforms []ocispec.Platform, begin func() io.Writer) error {
	if len(names) == 0 {
		return fault.New(fault.Invalid, "save: no image was named")
	}
	list, err := s.images.Select(ctx, names, platforms)
	if err != nil {
		return err
	}
	w := &saver{images: s.images, ctx: ctx, parts: map[digest.Digest]part{}, there: map[string]bool{}}
	release, err := w.plan(list)
	defer release()
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	w.t = tar.NewWriter(begin())
	if err := w.write(list); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	for _, one := range list {
		s.images.Publish(events.ActionSave, one.Image.ID, one.Image.ID.String())
	}
	return nil
}

// part is a layer as it goes into the archive.
type part struct {
	desc ocispec.Descriptor
	blob bool   // the blob of desc, else the tar
	tmp  string // a file with a tar that could not be made again
}

// saver is one Save.
type saver struct {
	images Images
	ctx    context.Context
	t      *tar.Writer
	parts  map[digest.Digest]part // by diffID
	there  map[string]bool
	buf    []byte
}

// plan holds what the images need and finds out in which form each layer goes out.
func (w *saver) plan(list []*image.Selected) (release func(), err error) {
	var layers, blobs []digest.Digest
	for _, one := range list {
		blobs = append(append(blobs, one.Image.ID), one.Image.Manifests()...)
		for _, id := range one.Image.Layers() {
			if slices.Contains(layers, id) {
				continue
			}
			layers = append(layers, id)
			known, err := w.images.LayerBlobs(id)
			if err != nil {
				return func() {}, err
			}
			for _, b := range known {
				blobs = append(blobs, b.Digest)
			}
		}
	}
	unguard := w.images.Guard(layers, blobs)
	release = func() {
		unguard()
		for _, p := range w.parts {
			if p.tmp != "" {
				os.Remove(p.tmp)
			}
		}
	}
	for _, id := range layers {
		p, err := w.part(id)
		if err != nil {
			return release, err
		}
		w.parts[id] = p
	}
	return release, nil
}

// part chooses the form of a layer. Only gzip goes out as it came: older Dockers
// cannot load zstd.
func (w *saver) part(id digest.Digest) (part, error) {
	known, err := w.images.LayerBlobs(id)
	if err != nil {
		return part{}, err
	}
	for _, b := range known {
		if !strings.HasSuffix(b.MediaType, ociGzip) && !strings.HasSuffix(b.MediaType, dockerGzip) {
			continue
		}
		if size, err := w.images.Blobs().Stat(b.Digest); err == nil && size == b.Size {
			return part{desc: b, blob: true}, nil
		}
	}
	info, err := w.images.Layers().Stat(id)
	if err != nil {
		return part{}, err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: info.TarSize}
	if info.TarSize > 0 {
		return part{desc: desc}, nil
	}
	return w.repack(id, desc)
}

// repack makes another tar of a layer whose own cannot be made again. The image
// gets another ID by that.
func (w *saver) repack(id digest.Digest, desc ocispec.Descriptor) (part, error) {
	f, err := os.CreateTemp(w.images.Root(), "save-")
	if err != nil {
		return part{}, err
	}
	defer f.Close()
	sum := digest.SHA256.Digester()
	err = w.images.Layers().Pack(w.ctx, id, io.MultiWriter(f, sum.Hash()))
	if err == nil {
		desc.Size, err = f.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		os.Remove(f.Name())
		return part{}, err
	}
	desc.Digest = sum.Digest()
	return part{desc: desc, tmp: f.Name()}, nil
}

func (w *saver) write(list []*image.Selected) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	items := []item{}
	for _, one := range list {
		desc, item, err := w.image(one)
		if err != nil {
			return err
		}
		items = append(items, *item)
		if len(one.Tags) == 0 {
			index.Manifests = append(index.Manifests, *desc)
		}
		for _, tag := range one.Tags {
			d := *desc
			named, err := image.ParseName(tag, "")
			if err != nil {
				return err
			}
			d.Annotations = map[string]string{nameKey: named.String()}
			if tagged, ok := named.(reference.Tagged); ok {
				d.Annotations[ocispec.AnnotationRefName] = tagged.Tag()
			}
			index.Manifests = append(index.Manifests, d)
		}
	}
	if err := w.json(manifestFile, items); err != nil {
		return err
	}
	if err := w.json(ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	if err := w.json(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return err
	}
	return w.t.Close()
}

func (w *saver) image(one *image.Selected) (*ocispec.Descriptor, *item, error) {
	out := &item{RepoTags: one.Tags, Layers: []string{}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	diffIDs := slices.Clone(one.Image.Layers())
	for i, id := range diffIDs {
		if err := w.layer(id); err != nil {
			return nil, nil, err
		}
		p := w.parts[id]
		if p.tmp != "" {
			diffIDs[i] = p.desc.Digest
		}
		out.Layers = append(out.Layers, blobDir+p.desc.Digest.Encoded())
		manifest.Layers = append(manifest.Layers, p.desc)
	}
	raw, err := w.images.Blobs().Read(one.Image.ID, image.MaxDocument)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Equal(diffIDs, one.Image.Layers()) {
		if raw, err = withLayers(raw, diffIDs); err != nil {
			return nil, nil, err
		}
	}
	manifest.Config, err = w.blob(ocispec.MediaTypeImageConfig, raw)
	if err != nil {
		return nil, nil, err
	}
	out.Config = blobDir + manifest.Config.Digest.Encoded()
	desc, err := w.manifest(one.Image, &manifest)
	desc.Platform = &ocispec.Platform{OS: one.Image.Config.OS, Architecture: one.Image.Config.Architecture, Variant: one.Image.Config.Variant}
	return &desc, out, err
}

// manifest writes the manifest that the image came with, if it says the same.
func (w *saver) manifest(img *image.Image, made *ocispec.Manifest) (ocispec.Descriptor, error) {
	for _, d := range img.Manifests() {
		raw, err := w.images.Blobs().Read(d, image.MaxDocument)
		if err != nil {
			continue // a damaged one is no reason not to save
		}
		var m ocispec.Manifest
		if json.Unmarshal(raw, &m) != nil || m.Config.Digest != made.Config.Digest || !slices.EqualFunc(m.Layers, made.Layers, sameBlob) {
			continue
		}
		mediaType := m.MediaType
		if mediaType == "" {
			mediaType = ocispec.MediaTypeImageManifest
		}
		return w.blob(mediaType, raw)
	}
	text, err := json.Marshal(made)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return w.blob(ocispec.MediaTypeImageManifest, text)
}

func sameBlob(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest }

// withLayers replaces the diffIDs of a config and leaves all else as it is.
func withLayers(raw []byte, diffIDs []digest.Digest) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	rootfs, err := json.Marshal(ocispec.RootFS{Type: "layers", DiffIDs: diffIDs})
	if err != nil {
		return nil, err
	}
	fields["rootfs"] = rootfs
	return json.Marshal(fields)
}

// layer writes a layer, once per archive.
func (w *saver) layer(id digest.Digest) error {
	p := w.parts[id]
	name := blobDir + p.desc.Digest.Encoded()
	if w.there[name] {
		return nil
	}
	if err := w.header(name, p.desc.Size); err != nil {
		return err
	}
	switch {
	case p.tmp != "":
		f, err := os.Open(p.tmp)
		if err != nil {
			return err
		}
		defer f.Close()
		return w.copy(w.t, f)
	case p.blob:
		f, err := w.images.Blobs().Open(p.desc.Digest)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := digest.SHA256.Digester()
		if err := w.copy(io.MultiWriter(w.t, sum.Hash()), f); err != nil {
			return err
		}
		if got := sum.Digest(); got != p.desc.Digest {
			return fault.New(fault.Unavailable, "blob %s is damaged on disk: its content has digest %s (sampan system check --repair, or remove the image and get it again)", p.desc.Digest, got)
		}
		return nil
	}
	return w.images.Layers().Tar(w.ctx, id, w.t)
}

// copy is io.Copy with large writes.
func (w *saver) copy(to io.Writer, from io.Reader) error {
	if w.buf == nil {
		w.buf = make([]byte, copyBuffer)
	}
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n, err := from.Read(w.buf)
		if n > 0 {
			if _, err := to.Write(w.buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *saver) blob(mediaType string, raw []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return d, w.document(blobDir+d.Digest.Encoded(), raw)
}

func (w *saver) json(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.document(name, raw)
}

func (w *saver) document(name string, raw []byte) error {
	if w.there[name] {
		return nil
	}
	if err := w.header(name, int64(len(raw))); err != nil {
		return err
	}
	_, err := io.Copy(w.t, bytes.NewReader(raw))
	return err
}

func (w *saver) header(name string, size int64) error {
	w.there[name] = true
	return w.t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
}
