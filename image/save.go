package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/state"
)

const (
	blobDir      = "blobs/sha256/"
	manifestFile = "manifest.json"
	nameKey      = "io.containerd.image.name"
)

// archiveItem is one image of a Docker archive's manifest.json.
type archiveItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// saved is an image that goes into an archive.
type saved struct {
	img  *Image
	tags []string // in short form
}

// Save writes images as an archive that is both a Docker archive and an OCI
// layout. A name without a tag stands for all tags of its repository. begin
// returns where the bytes go; before it, errors can be a status.
//
// Layers are written anew from their files, so an image that came from elsewhere
// may get other diffIDs, and thereby another ID, where it is loaded.
func (s *Service) Save(ctx context.Context, names []string, platforms []ocispec.Platform, begin func() io.Writer) error {
	list, err := s.selectSaved(ctx, names, platforms)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(s.cfg.Root, "save-")
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	defer os.RemoveAll(tmp)
	w := &saver{s: s, ctx: ctx, tmp: tmp, t: tar.NewWriter(begin()), done: map[digest.Digest]written{}, there: map[string]bool{}}
	if err := w.write(list); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	for _, one := range list {
		s.publish(events.ActionSave, one.img.ID, one.img.ID.String())
	}
	return nil
}

func (s *Service) selectSaved(ctx context.Context, names []string, platforms []ocispec.Platform) ([]*saved, error) {
	if len(names) == 0 {
		return nil, fault.New(fault.Invalid, "save: no image was named")
	}
	var list []*saved
	add := func(img *Image, tags ...string) error {
		if len(platforms) > 0 && !slices.ContainsFunc(platforms, func(p ocispec.Platform) bool { return samePlatform(p, img) }) {
			return fault.New(fault.NotFound, "image %s is for %s/%s, not for the platform that was asked for", short(img.ID), img.Config.OS, img.Config.Architecture)
		}
		i := slices.IndexFunc(list, func(one *saved) bool { return one.img.ID == img.ID })
		if i < 0 {
			list = append(list, &saved{img: img})
			i = len(list) - 1
		}
		for _, tag := range tags {
			if !slices.Contains(list[i].tags, tag) {
				list[i].tags = append(list[i].tags, tag)
			}
		}
		return nil
	}
	for _, name := range names {
		repository, err := s.repository(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, tag := range repository {
			img, err := s.Get(ctx, tag)
			if err == nil {
				err = add(img, tag)
			}
			if err != nil {
				return nil, err
			}
		}
		if len(repository) > 0 {
			continue
		}
		img, err := s.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		var tags []string
		if t, err := parseTarget(name); err == nil && t.name != nil && slices.Contains(img.RepoTags, t.text) {
			tags = []string{t.text}
		}
		if err := add(img, tags...); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// repository lists the tags of a name that has none itself.
func (s *Service) repository(ctx context.Context, name string) ([]string, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil || !reference.IsNameOnly(ref) {
		return nil, nil // an ID, or Get says what is wrong
	}
	var tags []string
	err = s.store.View(func(tx *state.Tx) error {
		return tx.Each(nameBucket, func(key string, _ []byte) error {
			known, err := reference.ParseNamed(key)
			if err != nil {
				return nil
			}
			if _, digested := known.(reference.Digested); !digested && known.Name() == ref.Name() {
				tags = append(tags, reference.FamiliarString(known))
			}
			return nil
		})
	})
	return tags, err
}

func samePlatform(p ocispec.Platform, img *Image) bool {
	return (p.OS == "" || p.OS == img.Config.OS) && (p.Architecture == "" || p.Architecture == img.Config.Architecture) && (p.Variant == "" || p.Variant == img.Config.Variant)
}

// written is a layer as it stands in the archive.
type written struct {
	digest digest.Digest
	size   int64
}

// saver is one Save.
type saver struct {
	s     *Service
	ctx   context.Context
	tmp   string
	t     *tar.Writer
	done  map[digest.Digest]written // by diffID
	there map[string]bool
}

func (w *saver) write(list []*saved) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	items := []archiveItem{}
	for _, one := range list {
		desc, item, err := w.image(one)
		if err != nil {
			return err
		}
		items = append(items, *item)
		if len(one.tags) == 0 {
			index.Manifests = append(index.Manifests, *desc)
		}
		for _, tag := range one.tags {
			d := *desc
			named, err := parseName(tag, "")
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

func (w *saver) image(one *saved) (*ocispec.Descriptor, *archiveItem, error) {
	item := &archiveItem{RepoTags: one.tags, Layers: []string{}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var diffIDs []digest.Digest
	for _, id := range one.img.record.Layers {
		got, size, err := w.layer(id)
		if err != nil {
			return nil, nil, err
		}
		diffIDs = append(diffIDs, got)
		item.Layers = append(item.Layers, blobDir+got.Encoded())
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: got, Size: size})
	}
	raw, err := w.s.blobs.Read(one.img.ID, maxConfig)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Equal(diffIDs, one.img.record.Layers) {
		if raw, err = withLayers(raw, diffIDs); err != nil {
			return nil, nil, err
		}
	}
	manifest.Config, err = w.blob(ocispec.MediaTypeImageConfig, raw)
	if err != nil {
		return nil, nil, err
	}
	item.Config = blobDir + manifest.Config.Digest.Encoded()
	text, err := json.Marshal(manifest)
	if err != nil {
		return nil, nil, err
	}
	desc, err := w.blob(ocispec.MediaTypeImageManifest, text)
	desc.Platform = &ocispec.Platform{OS: one.img.Config.OS, Architecture: one.img.Config.Architecture, Variant: one.img.Config.Variant}
	return &desc, item, err
}

// withLayers replaces the diffIDs of a config and leaves all else as it is.
func withLayers(raw []byte, diffIDs []digest.Digest) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	rootfs, err := json.Marshal(ocispec.RootFS{Type: rootFSType, DiffIDs: diffIDs})
	if err != nil {
		return nil, err
	}
	fields["rootfs"] = rootfs
	return json.Marshal(fields)
}

// layer writes a layer, once per archive. It goes by way of a file: a tar wants
// to know the size first, and the name is the digest.
func (w *saver) layer(id digest.Digest) (digest.Digest, int64, error) {
	if got, ok := w.done[id]; ok {
		return got.digest, got.size, nil
	}
	f, err := os.CreateTemp(w.tmp, "layer-")
	if err != nil {
		return "", 0, err
	}
	defer func() { f.Close(); os.Remove(f.Name()) }()
	sum := digest.SHA256.Digester()
	if err := w.s.layers.Pack(w.ctx, id, io.MultiWriter(f, sum.Hash())); err != nil {
		return "", 0, err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return "", 0, err
	}
	got := sum.Digest()
	w.done[id] = written{got, size}
	return got, size, w.file(blobDir+got.Encoded(), size, f)
}

func (w *saver) blob(mediaType string, raw []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return d, w.file(blobDir+d.Digest.Encoded(), d.Size, bytes.NewReader(raw))
}

func (w *saver) json(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.file(name, int64(len(raw)), bytes.NewReader(raw))
}

func (w *saver) file(name string, size int64, r io.Reader) error {
	if w.there[name] {
		return nil
	}
	w.there[name] = true
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := w.t.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(w.t, r)
	return err
}
