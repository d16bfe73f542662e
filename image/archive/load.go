package archive

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
	"strings"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/layer"
)

const (
	// maxFiles bounds the files of an archive, and maxImages its images.
	maxFiles  = 64 << 10
	maxImages = 4 << 10
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
// compressed. To progress it writes Docker's JSON messages; with Quiet nothing
// before the archive was read to its end. Images that were loaded before a failure
// stay.
func (s *Service) Load(ctx context.Context, r io.Reader, o LoadOptions, progress io.Writer) error {
	tmp, err := os.MkdirTemp(s.images.Root(), "load-")
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer os.RemoveAll(tmp)
	defer func() { go debug.FreeOSMemory() }()
	plain, stop := layer.Decompress(ctx, r)
	defer stop()
	l := &loader{images: s.images, ctx: ctx, dir: tmp, files: map[string]*file{}, links: map[string]string{}, o: o, progress: progress}
	defer l.close()
	if err := l.read(plain); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	failpoint.Hit("image.load.read")
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

// loader is one Load.
type loader struct {
	images   Images
	ctx      context.Context
	dir      string           // of the documents, under numbers: no name of the archive becomes a path
	files    map[string]*file // by cleaned name
	links    map[string]string
	o        LoadOptions
	progress io.Writer
	loaded   int

	heldLayers, heldBlobs []digest.Digest
}

func archiveName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func (l *loader) read(r io.Reader) error {
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			return discard(r)
		}
		if err != nil {
			return readError(n, err)
		}
		if n == maxFiles {
			return fault.New(fault.Invalid, "the archive has more than %d files, which no image archive has", maxFiles)
		}
		name := archiveName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			f, err := l.keep(n, name, h.Size, t)
			if err != nil {
				return readError(n, err)
			}
			l.files[name].close()
			l.files[name] = f
		case tar.TypeSymlink:
			// Old archives link layers that several images share.
			l.links[name] = archiveName(path.Join(path.Dir(name), h.Linkname))
		case tar.TypeLink:
			l.links[name] = archiveName(h.Linkname)
		}
		if err := l.ctx.Err(); err != nil {
			return err
		}
	}
}

func readError(n int, err error) error {
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

// close removes what no image took.
func (l *loader) close() {
	for _, f := range l.files {
		f.close()
	}
	l.images.Unhold(l.heldLayers, l.heldBlobs)
}

// find returns the file of a name of the archive; links lead to names only.
func (l *loader) find(name string) (*file, error) {
	at := archiveName(name)
	const maxLinks = 8
	for range maxLinks {
		if f, ok := l.files[at]; ok {
			return f, nil
		}
		next, ok := l.links[at]
		if !ok {
			break
		}
		at = next
	}
	return nil, fault.New(fault.Invalid, "invalid archive: it has no file %q, which it refers to", name)
}

func (l *loader) has(name string) bool {
	_, err := l.find(name)
	return err == nil
}

// document returns a whole file of bounded size.
func (l *loader) document(name string) ([]byte, error) {
	f, err := l.find(name)
	if err != nil {
		return nil, err
	}
	if f.path == "" {
		return nil, fault.New(fault.Invalid, "invalid archive: its file %q is a tar, and should be a document", name)
	}
	if f.size > image.MaxDocument {
		return nil, fault.New(fault.Invalid, "invalid archive: its file %q is larger than %d bytes", name, image.MaxDocument)
	}
	return os.ReadFile(f.path)
}

func decode(name string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fault.New(fault.Invalid, "invalid archive: its file %q is not what it should be: %w", name, err)
	}
	return nil
}

func (l *loader) dockerArchive() error {
	raw, err := l.document(manifestFile)
	if err != nil {
		return err
	}
	var items []item
	if err := decode(manifestFile, raw, &items); err != nil {
		return err
	}
	if len(items) > maxImages {
		return fault.New(fault.Invalid, "invalid archive: it has %d images, more than the limit of %d", len(items), maxImages)
	}
	for _, one := range items {
		raw, err := l.document(one.Config)
		if err != nil {
			return err
		}
		in := &incoming{config: raw, tags: one.RepoTags, layers: one.Layers}
		if err := l.image(in); err != nil {
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

// incoming is one image of the archive.
type incoming struct {
	config   []byte
	id       digest.Digest // as the archive gives it, or empty
	layers   []string      // files, bottom first
	tags     []string
	document []byte // the manifest, if there is one
}

// image makes one image.
func (l *loader) image(in *incoming) error {
	cfg := new(dockerspec.DockerOCIImage)
	if err := decode("config", in.config, cfg); err != nil {
		return err
	}
	wanted := func(want ocispec.Platform) bool { return image.Matches(cfg.Platform, want) }
	if len(l.o.Platforms) > 0 && !slices.ContainsFunc(l.o.Platforms, wanted) {
		return nil
	}
	diffIDs := cfg.RootFS.DiffIDs
	switch {
	case len(diffIDs) != len(in.layers):
		return fault.New(fault.Invalid, "invalid manifest, layers length mismatch: expected %d, got %d", len(diffIDs), len(in.layers))
	case len(in.layers) == 0:
		return fault.New(fault.Invalid, "invalid archive: an image without layers has no root file system")
	case len(in.layers) > maxLayers, len(in.tags) > maxNames:
		return fault.New(fault.Invalid, "invalid archive: an image has %d layers and %d names; the limits are %d and %d", len(in.layers), len(in.tags), maxLayers, maxNames)
	}
	a := image.Arrival{Config: in.config, ID: in.id}
	for _, tag := range in.tags {
		name, err := image.ParseName(tag, "")
		if err != nil {
			return err
		}
		a.Names = append(a.Names, name)
	}
	if cfg.Created != nil {
		a.Created = *cfg.Created
	}
	var err error
	if a.Layers, err = l.layers(in.layers, diffIDs); err != nil {
		return err
	}
	if a.ID == "" {
		a.ID = digest.FromBytes(in.config)
	}
	if in.document != nil {
		a.Documents = [][]byte{in.document}
	}
	return l.arrive(a)
}

func (l *loader) arrive(a image.Arrival) error {
	for _, name := range a.Names {
		short := reference.FamiliarString(name)
		old, err := l.images.Get(l.ctx, short)
		if err == nil && old.ID != a.ID {
			err = image.WriteMessage(l.progress, jsonstream.Message{Stream: fmt.Sprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", short, old.ID)})
			if err != nil {
				return err
			}
		}
	}
	failpoint.Hit("image.load.arrive")
	if _, err := l.images.Arrive(l.ctx, a); err != nil {
		return err
	}
	l.loaded++
	if len(a.Names) == 0 {
		l.images.Publish(events.ActionLoad, a.ID, a.ID.String())
		return image.WriteMessage(l.progress, jsonstream.Message{Stream: "Loaded image ID: " + a.ID.String() + "\n"})
	}
	for _, name := range a.Names {
		short := reference.FamiliarString(name)
		l.images.Publish(events.ActionLoad, a.ID, short)
		if err := image.WriteMessage(l.progress, jsonstream.Message{Stream: "Loaded image: " + short + "\n"}); err != nil {
			return err
		}
	}
	return nil
}

// spool writes a document to a file of the loader's directory.
func (l *loader) spool(n int, r io.Reader) (string, error) {
	name := filepath.Join(l.dir, fmt.Sprint(n))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, r)
	return name, errors.Join(err, f.Close())
}
