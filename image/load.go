package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/layer"
)

const (
	// maxArchiveFiles bounds the files of an archive, and maxImages its images.
	maxArchiveFiles = 64 << 10
	maxImages       = 4 << 10
	// maxLayers is what overlay can stack.
	maxLayers = 500
	// maxNames bounds the tags of one image.
	maxNames = 4 << 10
)

// LoadOptions are the parameters of images/load.
type LoadOptions struct {
	Quiet     bool
	Platforms []ocispec.Platform // none: all images
}

// Load reads images from a Docker archive or an OCI layout in a tar, plain or
// compressed. To progress it writes Docker's JSON messages, and nothing before
// the archive was read to its end. Images that were loaded before a failure stay.
func (s *Service) Load(ctx context.Context, r io.Reader, o LoadOptions, progress io.Writer) error {
	tmp, err := os.MkdirTemp(s.cfg.Root, "load-")
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer os.RemoveAll(tmp)
	defer func() { go debug.FreeOSMemory() }()
	plain, stop := layer.Decompress(ctx, r)
	defer stop()
	l := &loader{s: s, ctx: ctx, dir: tmp, files: map[string]string{}, links: map[string]string{}, o: o, progress: progress}
	if err := l.spool(plain); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	switch {
	case l.has(manifestFile):
		err = l.dockerArchive()
	case l.has(ocispec.ImageIndexFile):
		err = l.layout()
	default:
		err = fault.New(fault.Invalid, "invalid archive: it has neither a %s (Docker archive) nor an %s (OCI layout); for the root file system of an image use import", manifestFile, ocispec.ImageIndexFile)
	}
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}

// loader is one Load. The archive's files lie in dir under numbers: no name of the
// archive becomes a path.
type loader struct {
	s        *Service
	ctx      context.Context
	dir      string
	files    map[string]string // cleaned name → file
	links    map[string]string // cleaned name → cleaned target
	o        LoadOptions
	progress io.Writer
	loaded   int
}

func archiveName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func (l *loader) spool(r io.Reader) error {
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return spoolError(n, err)
		}
		if n == maxArchiveFiles {
			return fault.New(fault.Invalid, "the archive has more than %d files, which no image archive has", maxArchiveFiles)
		}
		name := archiveName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			if err := l.keep(n, name, t); err != nil {
				return err
			}
		case tar.TypeSymlink:
			// Old archives link layers that several images share.
			l.links[name] = archiveName(path.Join(path.Dir(name), h.Linkname))
		case tar.TypeLink:
			l.links[name] = archiveName(h.Linkname)
		}
	}
}

func spoolError(n int, err error) error {
	switch {
	case fault.Of(err) != nil:
		return err
	case errors.Is(err, tar.ErrHeader) && n == 0:
		return fault.New(fault.Invalid, "this is not a tar archive (plain, or compressed with gzip, zstd, xz or bzip2)")
	case errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Invalid, "the archive is damaged or cut off in its file number %d: %w", n+1, err)
	}
	return fmt.Errorf("read the archive: %w", err)
}

func (l *loader) keep(n int, name string, r io.Reader) error {
	file := filepath.Join(l.dir, strconv.Itoa(n))
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return spoolError(n, err)
	}
	l.files[name] = file
	return l.ctx.Err()
}

// find returns the file of a name of the archive; links lead to names only.
func (l *loader) find(name string) (string, error) {
	at := archiveName(name)
	const maxLinks = 8
	for range maxLinks {
		if file, ok := l.files[at]; ok {
			return file, nil
		}
		next, ok := l.links[at]
		if !ok {
			break
		}
		at = next
	}
	return "", fault.New(fault.Invalid, "invalid archive: it has no file %q, which it refers to", name)
}

func (l *loader) has(name string) bool {
	_, err := l.find(name)
	return err == nil
}

// read returns a whole file of bounded size.
func (l *loader) read(name string) ([]byte, error) {
	file, err := l.find(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(raw) > maxConfig {
		err = fault.New(fault.Invalid, "invalid archive: its file %q is larger than %d bytes", name, maxConfig)
	}
	return raw, err
}

func decode(name string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fault.New(fault.Invalid, "invalid archive: its file %q is not what it should be: %w", name, err)
	}
	return nil
}

func (l *loader) dockerArchive() error {
	raw, err := l.read(manifestFile)
	if err != nil {
		return err
	}
	var items []archiveItem
	if err := decode(manifestFile, raw, &items); err != nil {
		return err
	}
	if len(items) > maxImages {
		return fault.New(fault.Invalid, "invalid archive: it has %d images, more than the limit of %d", len(items), maxImages)
	}
	for _, item := range items {
		raw, err := l.read(item.Config)
		if err != nil {
			return err
		}
		if err := l.image(raw, "", item.Layers, item.RepoTags); err != nil {
			return err
		}
	}
	return l.anything()
}

// anything says so when the platforms that were asked for are not there.
func (l *loader) anything() error {
	if l.loaded == 0 && len(l.o.Platforms) > 0 {
		return fault.New(fault.NotFound, "the archive has no image for the platform that was asked for")
	}
	return nil
}

// image makes one image of its config and the files of its layers, bottom first.
// id is the config's digest as the archive gives it, or empty.
func (l *loader) image(raw []byte, id digest.Digest, layers, tags []string) error {
	cfg := new(dockerspec.DockerOCIImage)
	if err := decode("config", raw, cfg); err != nil {
		return err
	}
	if !l.wanted(cfg.Platform) {
		return nil
	}
	diffIDs := cfg.RootFS.DiffIDs
	switch {
	case len(layers) != len(diffIDs):
		return fault.New(fault.Invalid, "invalid manifest, layers length mismatch: expected %d, got %d", len(diffIDs), len(layers))
	case len(layers) == 0:
		return fault.New(fault.Invalid, "invalid archive: an image without layers has no root file system")
	case len(layers) > maxLayers, len(tags) > maxNames:
		return fault.New(fault.Invalid, "invalid archive: an image has %d layers and %d names; the limits are %d and %d", len(layers), len(tags), maxLayers, maxNames)
	}
	names := make([]reference.Named, 0, len(tags))
	for _, tag := range tags {
		name, err := parseName(tag, "")
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	rec := record{Layers: diffIDs}
	if cfg.Created != nil {
		rec.Created = *cfg.Created
	}
	for i, name := range layers {
		if err := diffIDs[i].Validate(); err != nil {
			return fault.New(fault.Invalid, "invalid archive: %q is no diffID: %w", diffIDs[i].String(), err)
		}
		info, err := l.layer(name, diffIDs[i])
		if err != nil {
			return err
		}
		defer l.s.release(info.DiffID)
		rec.Size += info.Size
	}
	if id == "" {
		id = digest.FromBytes(raw)
	}
	return l.record(raw, id, names, rec)
}

func (l *loader) wanted(p ocispec.Platform) bool {
	return len(l.o.Platforms) == 0 || slices.ContainsFunc(l.o.Platforms, func(want ocispec.Platform) bool {
		return samePlatform(want, &Image{Config: &dockerspec.DockerOCIImage{Image: ocispec.Image{Platform: p}}})
	})
}

func (l *loader) layer(name string, want digest.Digest) (*layer.Info, error) {
	file, err := l.find(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return l.s.layers.Unpack(l.ctx, f, want)
}

func (l *loader) record(raw []byte, id digest.Digest, names []reference.Named, rec record) error {
	if len(names) == 0 {
		if _, err := l.s.addRaw(l.ctx, raw, id, nil, rec); err != nil {
			return err
		}
		l.loaded++
		l.s.publish(events.ActionLoad, id, id.String())
		return writeMessage(l.progress, jsonstream.Message{Stream: "Loaded image ID: " + id.String() + "\n"})
	}
	for _, name := range names {
		short := reference.FamiliarString(name)
		old, err := l.s.Get(l.ctx, short)
		if err == nil && old.ID != id {
			err = writeMessage(l.progress, jsonstream.Message{Stream: fmt.Sprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", short, old.ID)})
			if err != nil {
				return err
			}
		}
		if _, err := l.s.addRaw(l.ctx, raw, id, name, rec); err != nil {
			return err
		}
		l.loaded++
		l.s.publish(events.ActionLoad, id, short)
		if err := writeMessage(l.progress, jsonstream.Message{Stream: "Loaded image: " + short + "\n"}); err != nil {
			return err
		}
	}
	return nil
}
