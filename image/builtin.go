package image

import (
	"archive/tar"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/box/applets"
	"github.com/sampan-containers/sampan/fault"
)

const (
	builtinName = "sampan/box"
	builtinTag  = "latest"
	// builtinBinary lies beside sampand and becomes /bin/sampan-box.
	builtinBinary = "sampan-box"
	builtinPath   = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// EnsureBuiltin makes sampan/box:latest from the sampan-box binary, if it is
// not there or was made from another binary.
func (s *Service) EnsureBuiltin(ctx context.Context) (*Image, error) {
	img, _, err := s.ensureBuiltin(ctx)
	return img, err
}

func (s *Service) ensureBuiltin(ctx context.Context) (img *Image, made bool, err error) {
	s.builtin.Lock()
	defer s.builtin.Unlock()
	f, err := s.openBox()
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	source, err := digest.SHA256.FromReader(f)
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	name, err := ParseName(builtinName, builtinTag)
	if err != nil {
		return nil, false, err
	}
	img, err = s.Get(ctx, builtinName)
	if err == nil && img.record.Source == source {
		return img, false, nil
	}
	if err != nil && fault.Of(err) != fault.NotFound {
		return nil, false, err
	}
	id, err := s.makeBuiltin(ctx, f, name, source)
	if err != nil {
		return nil, false, fmt.Errorf("make the built-in image %s from %s: %w", builtinName, f.Name(), err)
	}
	s.publish(events.ActionTag, id, reference.FamiliarString(name))
	img, err = s.Get(ctx, id.String())
	return img, true, err
}

func (s *Service) openBox() (*os.File, error) {
	path := s.cfg.BoxBinary
	if path == "" {
		own, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", builtinBinary, err)
		}
		path = filepath.Join(filepath.Dir(own), builtinBinary)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "the built-in image %s needs the file %s, which is missing (install it beside sampand: make install)", builtinName, path)
	}
	if err != nil {
		return nil, fmt.Errorf("the built-in image %s: %w", builtinName, err)
	}
	return f, nil
}

func (s *Service) makeBuiltin(ctx context.Context, f *os.File, name reference.Named, source digest.Digest) (digest.Digest, error) {
	platform, err := parsePlatform("")
	if err != nil {
		return "", err
	}
	created := builtAt(f.Name())
	cfg := &dockerspec.DockerOCIImage{}
	cfg.Platform = platform
	cfg.Created = &created
	cfg.Config.Cmd = []string{"sh"}
	cfg.Config.Env = []string{builtinPath}
	cfg.Config.Labels = map[string]string{"org.opencontainers.image.title": "sampan-box", "org.opencontainers.image.description": "A shell and core tools in one static binary"}
	cfg.History = []ocispec.History{{Created: &created, CreatedBy: "sampand", Comment: "made from the built-in sampan-box"}}

	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeBox(w, f, created)) }()
	id, err := s.fromTar(ctx, r, cfg, name, record{Created: created, Source: source})
	r.CloseWithError(err) // ends the writer if the reader gave up
	return id, err
}

// builtAt is the commit time that the Go linker recorded: the image must be a
// pure function of the binary.
func builtAt(path string) time.Time {
	fallback := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fallback
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, setting.Value); err == nil {
				return t.UTC()
			}
		}
	}
	return fallback
}

// boxDirs and boxFiles are the image's root file system beside the binary and
// one link for each applet.
var boxDirs = []struct {
	name string
	mode int64
}{
	{".", 0o755}, {"bin", 0o755}, {"dev", 0o755}, {"etc", 0o755}, {"home", 0o755}, {"proc", 0o555},
	{"root", 0o700}, {"run", 0o755}, {"sbin", 0o755}, {"sys", 0o555}, {"tmp", 0o1777}, {"usr", 0o755},
	{"usr/bin", 0o755}, {"usr/sbin", 0o755}, {"var", 0o755}, {"var/log", 0o755}, {"var/tmp", 0o1777},
}

var boxFiles = []struct{ name, text string }{
	{"etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n"},
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"},
	{"etc/profile", "# Read by a login shell (sh -l).\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"},
	{"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
	{"etc/os-release", "NAME=\"Sampan box\"\nID=sampan-box\nPRETTY_NAME=\"Sampan box\"\n"},
	{"etc/shells", "/bin/sh\n"},
}

func writeBox(w io.Writer, binary *os.File, at time.Time) error {
	st, err := binary.Stat()
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	add := func(h *tar.Header, content io.Reader) error {
		h.ModTime = at
		h.Format = tar.FormatPAX
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(t, content)
		return err
	}
	none := strings.NewReader("")
	for _, dir := range boxDirs {
		if err := add(&tar.Header{Typeflag: tar.TypeDir, Name: dir.name + "/", Mode: dir.mode}, none); err != nil {
			return err
		}
	}
	for _, f := range boxFiles {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.text))}
		if err := add(h, strings.NewReader(f.text)); err != nil {
			return err
		}
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "bin/" + builtinBinary, Mode: 0o755, Size: st.Size()}
	if err := add(h, binary); err != nil {
		return err
	}
	for _, applet := range applets.Names() {
		h := &tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "/bin/" + builtinBinary, Mode: 0o777}
		if err := add(h, none); err != nil {
			return err
		}
	}
	return t.Close()
}
