package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	// maxDeltaDepth and maxDeltaDir bound what a hostile root can ask for.
	maxDeltaDepth = 1000
	maxDeltaDir   = 1 << 20
)

// Delta writes into out, an empty directory of the same file system, what a plain
// root has changed of its image, in the form of an overlay's upper directory: so
// whatever reads an upper directory reads this. Files are links to those of the
// root, or copies that share their blocks.
func Delta(ctx context.Context, root, image, out *inroot.Root) error {
	d := &delta{ctx: ctx, root: root, image: image, out: out}
	_, err := d.directory(".", 0)
	return err
}

type delta struct {
	ctx              context.Context
	root, image, out *inroot.Root // without out, changes are only counted
	size             int64
	links            map[uint64]bool
}

// changedBytes is the sum of the sizes of the files that differ, hard links counted
// once.
func changedBytes(ctx context.Context, root, image *inroot.Root) (int64, error) {
	d := &delta{ctx: ctx, root: root, image: image, links: map[uint64]bool{}}
	_, err := d.directory(".", 0)
	return d.size, err
}

func (d *delta) count(st *unix.Stat_t) {
	if st.Mode&unix.S_IFMT != unix.S_IFREG || d.links[st.Ino] {
		return
	}
	if st.Nlink > 1 {
		d.links[st.Ino] = true
	}
	d.size += st.Size
}

// directory tells whether something below dir has changed; then dir is in out.
func (d *delta) directory(dir string, depth int) (changed bool, err error) {
	if depth > maxDeltaDepth {
		return false, fmt.Errorf("%s: directories are nested more than %d deep", dir, maxDeltaDepth)
	}
	if err := d.ctx.Err(); err != nil {
		return false, err
	}
	have, err := d.root.ReadDir(dir, maxDeltaDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	had, err := d.image.ReadDir(dir, maxDeltaDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return false, err
	}
	present := make(map[string]bool, len(have))
	for _, e := range have {
		present[e.Name] = true
		one, err := d.entry(path.Join(dir, e.Name), depth)
		if err != nil {
			return false, err
		}
		changed = changed || one
	}
	for _, e := range had {
		if present[e.Name] {
			continue
		}
		if changed = true; d.out == nil {
			continue
		}
		if err := d.parents(dir); err != nil {
			return false, err
		}
		if err := d.out.Mknod(path.Join(dir, e.Name), unix.S_IFCHR, 0); err != nil {
			return false, err
		}
	}
	return changed, nil
}

func (d *delta) entry(p string, depth int) (changed bool, err error) {
	st, err := d.root.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	old, err := d.image.Lstat(p)
	if err != nil {
		old = nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if old != nil && same(st, old) {
			return false, nil
		}
		if d.out == nil {
			d.count(st)
			return true, nil
		}
		if err := d.parents(path.Dir(p)); err != nil {
			return false, err
		}
		return true, d.file(p, st)
	}
	isNew := old == nil || old.Mode&unix.S_IFMT != unix.S_IFDIR || old.Mode != st.Mode || old.Uid != st.Uid || old.Gid != st.Gid
	if isNew {
		if err := d.parents(p); err != nil {
			return false, err
		}
	}
	below, err := d.directory(p, depth+1)
	return below || isNew, err
}

// same tells that nothing has written to a file since it was copied.
func same(a, b *unix.Stat_t) bool {
	return a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Rdev == b.Rdev && a.Size == b.Size && a.Mtim == b.Mtim
}

// parents makes a directory of the root, and those above it, in out.
func (d *delta) parents(dir string) error {
	if d.out == nil {
		return nil
	}
	if _, err := d.out.Lstat(dir); err == nil {
		return nil
	}
	if err := d.parents(path.Dir(dir)); err != nil {
		return err
	}
	if err := d.out.Mkdir(dir, dirMode); err != nil {
		return err
	}
	st, err := d.root.Lstat(dir)
	if err != nil {
		return err
	}
	return d.attributes(dir, st)
}

func (d *delta) file(p string, st *unix.Stat_t) error {
	from, err := d.root.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := d.out.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	base := path.Base(p)
	err = unix.Linkat(int(from.Fd()), base, int(to.Fd()), base, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed meanwhile
	}
	if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EMLINK) {
		return err
	}
	return d.copy(p, st)
}

// copy serves roots that are a subvolume of their own, beyond which no link goes.
func (d *delta) copy(p string, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		src, err := d.root.OpenRegular(p, os.O_RDONLY)
		if err != nil {
			return err
		}
		defer src.Close()
		dst, err := d.out.Open(p, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(dst, src) // copy_file_range, which shares blocks on btrfs
		if err := errors.Join(err, dst.Close()); err != nil {
			return err
		}
	case unix.S_IFLNK:
		target, err := d.root.Readlink(p)
		if err == nil {
			err = d.out.Symlink(target, p)
		}
		if err != nil {
			return err
		}
	default:
		if err := d.out.Mknod(p, st.Mode, st.Rdev); err != nil {
			return err
		}
	}
	return d.attributes(p, st)
}

func (d *delta) attributes(p string, st *unix.Stat_t) error {
	if err := d.out.Lchown(p, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := d.out.Chmod(p, st.Mode&modeBits); err != nil {
			return err
		}
		names, err := d.root.ListXattrs(p)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		for _, name := range names {
			if name != "security.capability" && !strings.HasPrefix(name, "user.") {
				continue
			}
			value, err := d.root.GetXattr(p, name)
			if err == nil {
				err = d.out.SetXattr(p, name, value)
			}
			if err != nil {
				return err
			}
		}
	}
	f, err := d.out.Open(path.Dir(p), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.UtimesNanoAt(int(f.Fd()), path.Base(p), []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}
