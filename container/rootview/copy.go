package rootview

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	// maxCopyDepth bounds the recursion over a hostile image's directories.
	maxCopyDepth = 200
	// maxCopyDir bounds the entries of one directory held in memory.
	maxCopyDir = 1 << 20
)

type inode struct{ dev, ino uint64 }

// Copy copies what the layers, top first, have at target into dir, an empty
// directory on the host. Layers without target copy nothing.
func Copy(ctx context.Context, layers []string, target, dir string) error {
	if !hasPath(layers, target) {
		return nil
	}
	root, err := Open(layers)
	if err != nil {
		return err
	}
	defer root.Close()
	from, err := root.Sub(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copy %s of the image into the volume: %w", target, err)
	}
	defer from.Close()
	to, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	c := copier{from: from, to: to, links: map[inode]string{}}
	if err := c.directory(ctx, ".", 0); err != nil {
		return fmt.Errorf("copy %s of the image into the volume: %w", target, err)
	}
	return nil
}

// copier copies a tree of an image into a volume, with owners, modes, times,
// extended attributes and hard links. Both sides are reached below a root
// descriptor only. Device nodes are copied as nodes: the device filter decides
// who may open them.
type copier struct {
	from, to *inroot.Root
	links    map[inode]string
}

func (c *copier) directory(ctx context.Context, dir string, depth int) error {
	if depth > maxCopyDepth {
		return fmt.Errorf("%s: directories are nested more than %d deep", dir, maxCopyDepth)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := c.from.ReadDir(dir, maxCopyDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		if err := c.entry(ctx, name, depth); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	st, err := c.from.Stat(dir)
	if err != nil {
		return err
	}
	return c.attributes(dir, st)
}

func (c *copier) entry(ctx context.Context, name string, depth int) error {
	st, err := c.from.Lstat(name)
	if err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, seen := c.links[id]; seen {
			return c.to.Link(first, name)
		}
		c.links[id] = name
	}
	switch kind {
	case unix.S_IFDIR:
		if err := c.to.Mkdir(name, 0o700); err != nil {
			return err
		}
		return c.directory(ctx, name, depth+1)
	case unix.S_IFREG:
		err = c.file(name)
	case unix.S_IFLNK:
		var target string
		if target, err = c.from.Readlink(name); err == nil {
			err = c.to.Symlink(target, name)
		}
	default:
		err = c.to.Mknod(name, st.Mode, st.Rdev)
	}
	if err != nil {
		return err
	}
	return c.attributes(name, st)
}

func (c *copier) file(name string) error {
	src, err := c.from.OpenRegular(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := c.to.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}

// attributes come last: writing changes times, and a change of owner drops the
// setuid bit and capabilities.
func (c *copier) attributes(name string, st *unix.Stat_t) error {
	if err := c.to.Lchown(name, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := c.to.Chmod(name, st.Mode&0o7777); err != nil {
			return err
		}
		names, err := c.from.ListXattrs(name)
		if err != nil {
			return err
		}
		for _, x := range names {
			if !copiedXattr(x) {
				continue
			}
			value, err := c.from.GetXattr(name, x)
			if err == nil {
				err = c.to.SetXattr(name, x, value)
			}
			if err != nil {
				return fmt.Errorf("extended attribute %s: %w", x, err)
			}
		}
	}
	return c.to.Utimes(name, time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix()))
}

// copiedXattr leaves out the marks of overlay itself (trusted.overlay.*).
func copiedXattr(name string) bool {
	return name == "security.capability" || len(name) > 5 && name[:5] == "user."
}

// hasPath tells cheaply that no layer can have the path; true may be wrong where
// links are involved.
func hasPath(lowers []string, p string) bool {
	for _, l := range lowers {
		// The first component decides: resolving further could follow a link.
		if _, err := os.Lstat(path.Join(l, firstComponent(p))); err == nil {
			return true
		}
	}
	return false
}

func firstComponent(p string) string {
	p = path.Clean("/" + p)[1:]
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i]
		}
	}
	return p
}
