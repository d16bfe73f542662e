package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	maxDepth = 1000
	maxDir   = 1 << 20
	// maxChanges bounds the answer of diff, which is held in memory.
	maxChanges = 1 << 20
)

// stubs are the places of the mounts that every container gets. A start makes
// those that the image lacks; they are no change of the user's.
var stubs = []string{"dev", "proc", "sys", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/pts", "dev/shm", "dev/mqueue", "dev/console"}

// IsStub tells whether an entry of an upper directory is nothing but the place of
// such a mount, or a directory made for it.
func IsStub(lower *inroot.Root, upper *inroot.Root, p string, st *unix.Stat_t) bool {
	if !slices.Contains(stubs, p) {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Size != 0 {
			return false
		}
	case unix.S_IFDIR:
		entries, err := upper.ReadDir(p, maxDir)
		if err != nil {
			return false
		}
		for _, e := range entries {
			below, err := upper.Lstat(path.Join(p, e.Name))
			if err != nil || !IsStub(lower, upper, path.Join(p, e.Name), below) {
				return false
			}
		}
		// A directory of the image that is in upper for its stubs only.
		if old, err := lower.Lstat(p); err == nil {
			return old.Mode == st.Mode && old.Uid == st.Uid && old.Gid == st.Gid && len(entries) > 0
		}
		return true
	default:
		return false
	}
	_, err := lower.Lstat(p)
	return errors.Is(err, fs.ErrNotExist)
}

// Changes compares the upper directory of an overlay with what lies below it. The
// answer is sorted by path.
func Changes(ctx context.Context, upper, lower *inroot.Root) ([]container.FilesystemChange, error) {
	d := &differ{ctx: ctx, upper: upper, lower: lower, out: []container.FilesystemChange{}}
	if err := d.directory(".", true, 0); err != nil {
		return nil, err
	}
	slices.SortFunc(d.out, func(a, b container.FilesystemChange) int { return strings.Compare(a.Path, b.Path) })
	return d.out, nil
}

type differ struct {
	ctx          context.Context
	upper, lower *inroot.Root
	out          []container.FilesystemChange
}

func (d *differ) add(kind container.ChangeType, p string) error {
	if len(d.out) == maxChanges {
		return fmt.Errorf("more than %d changes", maxChanges)
	}
	d.out = append(d.out, container.FilesystemChange{Kind: kind, Path: "/" + p})
	return nil
}

// directory compares one directory of upper; merged tells that lower has it too
// and shows through.
func (d *differ) directory(dir string, merged bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: directories are nested more than %d deep", dir, maxDepth)
	}
	if err := d.ctx.Err(); err != nil {
		return err
	}
	entries, err := d.upper.ReadDir(dir, maxDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	have := make(map[string]bool, len(entries))
	for _, e := range entries {
		have[e.Name] = true
		if err := d.entry(path.Join(dir, e.Name), merged, depth); err != nil {
			return err
		}
	}
	if !merged || !d.opaque(dir) {
		return nil
	}
	// It hides all that the image has here and upper has not.
	below, err := d.lower.ReadDir(dir, maxDir)
	if err != nil {
		return err
	}
	for _, e := range below {
		if !have[e.Name] {
			if err := d.add(container.ChangeDelete, path.Join(dir, e.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *differ) opaque(dir string) bool {
	v, err := d.upper.GetXattr(dir, "trusted.overlay.opaque")
	return err == nil && string(v) == "y"
}

func (d *differ) entry(p string, merged bool, depth int) error {
	st, err := d.upper.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var old *unix.Stat_t
	if merged {
		if old, err = d.lower.Lstat(p); err != nil {
			old = nil
		}
	}
	kind := st.Mode & unix.S_IFMT
	switch {
	case kind == unix.S_IFCHR && st.Rdev == 0:
		if old == nil {
			return nil // what it hid was of this container
		}
		return d.add(container.ChangeDelete, p)
	case IsStub(d.lower, d.upper, p, st):
		return nil
	case old == nil:
		err = d.add(container.ChangeAdd, p)
	case kind != unix.S_IFDIR && unchanged(st, old):
		return nil // it was opened for writing and not written
	default:
		err = d.add(container.ChangeModify, p)
	}
	if err != nil || kind != unix.S_IFDIR {
		return err
	}
	return d.directory(p, old != nil && old.Mode&unix.S_IFMT == unix.S_IFDIR, depth+1)
}

func unchanged(a, b *unix.Stat_t) bool {
	return a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Rdev == b.Rdev && a.Size == b.Size && a.Mtim == b.Mtim
}
