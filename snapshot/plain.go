package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/mountapi"
)

const (
	plainDir = "fs"
	// baseFile lists the layers that a plain root was made from.
	baseFile = "base.json"
)

// Plain is the vfs driver: a container's root is a copy of its image.
type Plain struct {
	*Overlay
	name string
	copy Copy
}

// Name is the driver's name.
func (p *Plain) Name() string { return p.name }

// Prepare copies the image into containers/<id>/fs. It is idempotent.
func (p *Plain) Prepare(ctx context.Context, id string, lowers []string) (Mount, error) {
	return p.prepare(ctx, id, lowers, func(dir string) error {
		if err := os.Mkdir(dir, dirMode); err != nil {
			return err
		}
		return flatten(ctx, lowers, dir, p.copy)
	})
}

// prepare makes the root with fill, which makes the directory it is given.
func (p *Plain) prepare(ctx context.Context, id string, lowers []string, fill func(dir string) error) (Mount, error) {
	if err := ctx.Err(); err != nil {
		return Mount{}, err
	}
	dir, err := p.dir(id)
	if err != nil {
		return Mount{}, err
	}
	if len(lowers) == 0 {
		return Mount{}, fault.New(fault.Invalid, "container %s: an image needs at least one layer", id)
	}
	m := Mount{Upper: filepath.Join(dir, plainDir), Driver: p.name, Base: lowers}
	if exists(m.Upper) {
		return m, nil
	}
	if err := p.fill(dir, m, fill); err != nil {
		err = fmt.Errorf("prepare the root file system of container %s: %w", id, err)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = fault.Wrap(fault.Exhausted, err)
		}
		return Mount{}, err
	}
	return m, nil
}

func (p *Plain) fill(dir string, m Mount, fill func(dir string) error) error {
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	unready := m.Upper + ".new"
	if err := p.trash.Take(unready); err != nil { // of a create that a crash cut off
		return err
	}
	if err := fill(unready); err != nil {
		return errors.Join(err, p.trash.Take(unready))
	}
	raw, err := json.Marshal(m.Base)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, baseFile), raw, 0o600); err != nil {
		return err
	}
	return os.Rename(unready, m.Upper)
}

// flatten copies an image into dir and waits until it is on the disk: the name that
// dir gets afterwards must not outlive its content.
func flatten(ctx context.Context, lowers []string, dir string, copy Copy) error {
	// An empty layer below keeps the copy from seeing a single layer's own marks.
	empty, err := os.MkdirTemp(filepath.Dir(dir), "empty-")
	if err != nil {
		return err
	}
	defer os.Remove(empty)
	if err := copy(ctx, append(append([]string(nil), lowers...), empty), dir); err != nil {
		return err
	}
	if err := copyRoot(lowers[0], dir); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// usedBy is what a container has changed of a plain root: the sizes of files that
// are not as in the image.
func usedBy(ctx context.Context, dir string) (int64, error) {
	raw, err := os.ReadFile(filepath.Join(dir, baseFile))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	var base []string
	if err == nil {
		err = json.Unmarshal(raw, &base)
	}
	if err != nil {
		return 0, fmt.Errorf("measure the root file system in %s: %w", dir, err)
	}
	n, err := compareSizes(ctx, filepath.Join(dir, plainDir), base)
	if err != nil {
		return 0, fmt.Errorf("measure the root file system in %s: %w", dir, err)
	}
	return n, nil
}

func compareSizes(ctx context.Context, dir string, base []string) (int64, error) {
	root, err := inroot.Open(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	image, err := merged(base)
	if err != nil {
		return 0, err
	}
	defer image.Close()
	return changedBytes(ctx, root, image)
}

// merged shows layers together; overlay refuses to show one alone.
func merged(layers []string) (*inroot.Root, error) {
	if len(layers) == 1 {
		return inroot.Open(layers[0])
	}
	m, err := mountapi.Overlay{Lower: layers}.Mount()
	if err != nil {
		return nil, err
	}
	return inroot.From(m), nil
}
