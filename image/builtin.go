package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image/builtin"
)

const (
	builtinName = "sampan/box"
	builtinTag  = "latest"
	// builtinBinary lies beside sampand and becomes /bin/sampan-box.
	builtinBinary = "sampan-box"
	builtinPath   = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// ensureBuiltin makes sampan/box:latest from the sampan-box binary, if it is
// not there or was made from another binary.
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
	created := builtin.BuiltAt(f.Name())
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
	go func() { w.CloseWithError(builtin.Write(w, f, created)) }()
	id, err := s.fromTar(ctx, r, cfg, name, record{Created: created, Source: source})
	r.CloseWithError(err) // ends the writer if the reader gave up
	return id, err
}
