// Package treecopy copies a tree of files into an empty directory: owners,
// modes, times, hard links, holes, extended attributes and ACLs too. Both sides
// are reached below a root descriptor only, so that no link in a hostile tree
// leads out of it. Device nodes are copied as nodes: the device filter decides
// who may open them. Sockets are left out, for nobody listens on a copy, and so
// are the marks of overlay (trusted.overlay.*).
package treecopy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	// maxDepth bounds the recursion over a hostile tree.
	maxDepth = 1000
	// maxDir bounds the entries of one directory held in memory.
	maxDir = 1 << 20
)

// inode names a file that has several names.
type inode struct{ dev, ino uint64 }

type copier struct {
	from, to *inroot.Root
	links    map[inode]string
	deepest  int
}

// Copy copies everything below one root into another, empty one. What vanishes
// meanwhile is no error.
func Copy(ctx context.Context, from, to *inroot.Root) error {
	c := &copier{from: from, to: to, links: map[inode]string{}, deepest: maxDepth}
	return c.directory(ctx, ".", 0)
}

func (c *copier) directory(ctx context.Context, dir string, depth int) error {
	if depth > c.deepest {
		return fmt.Errorf("%s: directories are nested more than %d deep", dir, c.deepest)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := c.from.ReadDir(dir, maxDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		if err := c.entry(ctx, name, depth); err != nil && !errors.Is(err, unix.ENOENT) {
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
		err = c.file(name, st.Size)
	case unix.S_IFLNK:
		var target string
		if target, err = c.from.Readlink(name); err == nil {
			err = c.to.Symlink(target, name)
		}
	case unix.S_IFSOCK:
		return nil
	default:
		err = c.to.Mknod(name, st.Mode, st.Rdev)
	}
	if err != nil {
		return err
	}
	return c.attributes(name, st)
}

func (c *copier) file(name string, size int64) error {
	src, err := c.from.OpenRegular(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := c.to.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// btrfs, xfs and others share the blocks; elsewhere the data is copied, and
	// holes stay holes.
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) != nil {
		err = copyData(dst, src, size)
	}
	return errors.Join(err, dst.Close())
}

func copyData(dst, src *os.File, size int64) error {
	for at := int64(0); at < size; {
		data, err := src.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if err != nil { // a file system without SEEK_DATA
			data = at
		}
		end, err := src.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			end = size
		}
		if _, err := src.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := dst.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if n, err := io.CopyN(dst, src, end-data); err != nil && !errors.Is(err, io.EOF) {
			return err
		} else if n == 0 {
			break // it was cut short meanwhile
		}
		at = end
	}
	return dst.Truncate(size)
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
			if err := c.xattr(name, x); err != nil {
				return fmt.Errorf("extended attribute %s: %w", x, err)
			}
		}
	}
	return c.to.Utimes(name, time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix()))
}

func (c *copier) xattr(name, x string) error {
	acl := strings.HasPrefix(x, "system.posix_acl_")
	if x != "security.capability" && !strings.HasPrefix(x, "user.") && !acl {
		return nil
	}
	value, err := c.from.GetXattr(name, x)
	if err == nil {
		err = c.to.SetXattr(name, x, value)
	}
	if acl && errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the mode is there, which is all that a file system without ACLs can hold
	}
	return err
}
