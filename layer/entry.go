package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	// metaPrefix begins names that AUFS kept for itself and some layers contain.
	metaPrefix = ".wh..wh."

	paxXattr  = "SCHILY.xattr."
	paxSparse = "GNU.sparse."

	// maxID is the largest uid or gid; 2^32-1 means "leave alone" to chown.
	maxID = 1<<32 - 2
	// maxTime is what ext4 with 256-byte inodes can store, in the year 2446.
	maxTime  = 1<<34 - 1
	modeBits = 0o7777
	// shortLink is the length from which a link's target takes a block of ext4.
	shortLink = 60
)

// clean turns a name of the archive into a path below the root. Absolute names
// are taken as relative, as every tar does; names that climb out are refused.
func clean(name string) (string, error) {
	if len(name) > maxPath {
		return "", fault.New(fault.Invalid, "the archive has a name of %d bytes, more than the limit of %d", len(name), maxPath)
	}
	p := path.Clean(strings.TrimLeft(name, "/"))
	if p == ".." || strings.HasPrefix(p, "../") {
		return "", fault.New(fault.Invalid, "the archive's entry %q points outside of the root", name)
	}
	return p, nil
}

// entry makes one entry of the tar.
func (x *extractor) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return x.rootEntry(h)
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > maxID || int64(h.Gid) > maxID {
		return fault.New(fault.Invalid, "entry %q has an owner out of range: %d:%d", name, h.Uid, h.Gid)
	}
	base := path.Base(name)
	parent, err := x.dirs.get(path.Dir(name))
	if err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return x.whiteout(parent, name, base)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return x.directory(parent, name, base, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return x.file(parent, name, base, h)
	case tar.TypeSymlink:
		return x.symlink(parent, name, base, h)
	case tar.TypeLink:
		return x.hardlink(parent, name, base, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.node(parent, name, base, h)
	}
	return fault.New(fault.Invalid, "entry %q has the unknown type %q", name, h.Typeflag)
}

func (x *extractor) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fault.New(fault.Invalid, "the archive's entry %q replaces the root by something that is no directory", h.Name)
	}
	root, err := x.dirs.get(".")
	if err != nil {
		return err
	}
	fd, err := unix.Openat(root.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", ".", err)
	}
	defer unix.Close(fd)
	if err := x.attributes(fd, ".", h, false); err != nil {
		return err
	}
	atime, mtime := timestamps(h)
	return x.dirs.list(".", atime, mtime)
}

func (x *extractor) directory(parent *directory, name, base string, h *tar.Header) error {
	err := unix.Mkdirat(parent.fd(), base, 0o700)
	if errors.Is(err, unix.EEXIST) {
		var st unix.Stat_t
		if err := unix.Fstatat(parent.fd(), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return pathError("examine", name, err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = nil
		} else if parent, err = x.displace(parent, name, base); err == nil {
			// A file, link or whiteout of this layer hid what lower layers
			// have here; a directory in its place must not show it again.
			if err = unix.Mkdirat(parent.fd(), base, 0o700); err == nil {
				err = setOpaqueAt(parent, base)
			}
		}
	}
	if err != nil {
		return pathError("make directory", name, err)
	}
	fd, err := unix.Openat(parent.fd(), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open directory", name, err)
	}
	real := parent.join(base)
	if err := x.attributes(fd, name, h, false); err != nil {
		unix.Close(fd)
		return err
	}
	atime, mtime := timestamps(h)
	if err := x.dirs.list(real, atime, mtime); err != nil {
		unix.Close(fd)
		return err
	}
	x.dirs.hold(name, real, fd)
	return nil
}

func (x *extractor) symlink(parent *directory, name, base string, h *tar.Header) error {
	if len(h.Linkname) >= shortLink {
		x.disk += diskBlock
	}
	parent, err := x.create(parent, name, base, func(p *directory) error {
		return unix.Symlinkat(h.Linkname, p.fd(), base)
	})
	if err != nil {
		return pathError("make the link", name, err)
	}
	return x.attributesAt(parent, name, base, h, false)
}

func (x *extractor) hardlink(parent *directory, name, base string, h *tar.Header) error {
	target, err := clean(h.Linkname)
	if err != nil {
		return err
	}
	if target == "." {
		return fault.New(fault.Invalid, "entry %q is a hard link to the root", name)
	}
	at, err := x.root.OpenFD(path.Dir(target), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return linkError(name, target, err)
	}
	defer unix.Close(at)
	real, err := x.dirs.inside(at, path.Dir(target))
	if err != nil {
		return err
	}
	if path.Join(real, path.Base(target)) == parent.join(base) {
		return nil
	}
	_, err = x.create(parent, name, base, func(p *directory) error {
		return unix.Linkat(at, path.Base(target), p.fd(), base, 0)
	})
	if err != nil {
		return linkError(name, target, err)
	}
	return nil
}

func (x *extractor) node(parent *directory, name, base string, h *tar.Header) error {
	kind, dev := uint32(unix.S_IFIFO), 0
	if h.Typeflag != tar.TypeFifo {
		const maxMajor, maxMinor = 1<<12 - 1, 1<<20 - 1
		if h.Devmajor < 0 || h.Devmajor > maxMajor || h.Devminor < 0 || h.Devminor > maxMinor {
			return fault.New(fault.Invalid, "entry %q has a device number out of range: %d:%d", name, h.Devmajor, h.Devminor)
		}
		kind, dev = unix.S_IFCHR, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
	}
	parent, err := x.create(parent, name, base, func(p *directory) error {
		return unix.Mknodat(p.fd(), base, kind|0o600, dev)
	})
	if err != nil {
		return pathError("make the device or FIFO", name, err)
	}
	return x.attributesAt(parent, name, base, h, true)
}

// create makes a name with f, putting away what an earlier entry made there.
// It returns the parent, opened anew if need be.
func (x *extractor) create(parent *directory, name, base string, f func(*directory) error) (*directory, error) {
	err := f(parent)
	if !errors.Is(err, unix.EEXIST) {
		return parent, err
	}
	if parent, err = x.displace(parent, name, base); err != nil {
		return nil, err
	}
	return parent, f(parent)
}

// displace removes what is at base, a whole tree in one step.
func (x *extractor) displace(parent *directory, name, base string) (*directory, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(parent.fd(), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFREG || kind == unix.S_IFDIR {
		x.recipe.lost() // the content of a file goes with it
	}
	err := unix.Unlinkat(parent.fd(), base, 0)
	if errors.Is(err, unix.EISDIR) {
		err = x.discard(parent, base)
	}
	if err != nil {
		return nil, err
	}
	x.dirs.forget()
	return x.dirs.get(path.Dir(name))
}

func (x *extractor) whiteout(parent *directory, name, base string) error {
	if base == opaqueMarker {
		x.opaqueRoot = x.opaqueRoot || parent.real == "."
		return pathError("make opaque", path.Dir(name), unix.Setxattr(parent.self(), opaqueXattr, []byte("y"), 0))
	}
	if strings.HasPrefix(base, metaPrefix) {
		return nil
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return fault.New(fault.Invalid, "the archive's whiteout %q names nothing that can be removed", name)
	}
	err := unix.Mknodat(parent.fd(), hidden, unix.S_IFCHR, 0)
	if !errors.Is(err, unix.EEXIST) {
		return pathError("make the whiteout", name, err)
	}
	// A whiteout removes from lower layers only. What this layer itself has at
	// that name hides them as a file; as a directory it becomes opaque.
	var st unix.Stat_t
	if err := unix.Fstatat(parent.fd(), hidden, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("examine", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	return pathError("make opaque", name, setOpaqueAt(parent, hidden))
}

// attributes sets owner, mode and xattrs of an open file or directory, in that
// order: chown clears the set-id bits and security.capability. exact says that it
// was made with its mode.
func (x *extractor) attributes(fd int, name string, h *tar.Header, exact bool) error {
	if h.Typeflag == tar.TypeDir && h.Mode&unix.S_ISGID != 0 {
		x.setgid = true
	}
	if h.Uid != 0 || h.Gid != 0 || name == "." || x.setgid {
		if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
			return pathError("set the owner of", name, err)
		}
	}
	if !exact {
		if err := unix.Fchmod(fd, uint32(h.Mode)&modeBits); err != nil {
			return pathError("set the mode of", name, err)
		}
	}
	return x.xattrs(name, h, func(key string, value []byte) error {
		return unix.Fsetxattr(fd, key, value, 0)
	})
}

// attributesAt does the same for what cannot be opened. The entry was made by
// this extraction a moment ago, in a tree that nobody else writes to, so base
// is what create made; mode is false for a link, which has none.
func (x *extractor) attributesAt(parent *directory, name, base string, h *tar.Header, mode bool) error {
	if err := unix.Fchownat(parent.fd(), base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("set the owner of", name, err)
	}
	if mode {
		if err := unix.Fchmodat(parent.fd(), base, uint32(h.Mode)&modeBits, 0); err != nil {
			return pathError("set the mode of", name, err)
		}
	}
	err := x.xattrs(name, h, func(key string, value []byte) error {
		return unix.Lsetxattr(parent.self()+"/"+base, key, value, 0)
	})
	if err != nil {
		return err
	}
	atime, mtime := timestamps(h)
	err = unix.UtimesNanoAt(parent.fd(), base, []unix.Timespec{atime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
	return pathError("set the times of", name, err)
}

// xattrs sets the extended attributes that a layer may carry. Those of the
// overlay itself would let an image redirect or hide paths of other layers.
func (x *extractor) xattrs(name string, h *tar.Header, set func(key string, value []byte) error) error {
	var keys []string
	for record := range h.PAXRecords {
		if key, ok := strings.CutPrefix(record, paxXattr); ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if strings.HasPrefix(key, "trusted.overlay.") || strings.HasPrefix(key, "user.overlay.") {
			continue
		}
		if key == "system.posix_acl_default" {
			x.umask = 0o777 // what is made below does not get the mode that it is made with
		}
		err := set(key, []byte(h.PAXRecords[paxXattr+key]))
		// A file system without an attribute's kind, or a kind the kernel
		// reserves (an LSM that is not loaded), does not make the image useless.
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) && key != "security.capability" {
			continue
		}
		if err != nil {
			return pathError("set xattr "+fmt.Sprintf("%q", key)+" of", name, err)
		}
	}
	return nil
}

func timestamps(h *tar.Header) (atime, mtime unix.Timespec) {
	mtime, atime = timespec(h.ModTime), timespec(h.AccessTime)
	if h.AccessTime.IsZero() {
		atime = mtime
	}
	return atime, mtime
}

// timespec takes times that no file system keeps as the epoch, as Docker does.
func timespec(t time.Time) unix.Timespec {
	if s := t.Unix(); s >= 0 && s <= maxTime {
		return unix.Timespec{Sec: s, Nsec: int64(t.Nanosecond())}
	}
	return unix.Timespec{}
}

// pathError gives a failure of the system its class; nil stays nil.
func pathError(op, name string, err error) error {
	if err == nil || fault.Of(err) != nil {
		return err
	}
	var wrapped *fs.PathError
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	class := fault.Invalid
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		class = fault.Exhausted
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EROFS), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s %q: %w", op, name, err)
	}
	return fault.New(class, "%s %q: %w", op, name, err)
}

func linkError(name, target string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return fault.New(fault.Invalid, "entry %q is a hard link to %q, which the archive does not contain before it", name, target)
	}
	if errors.Is(err, unix.EPERM) {
		return fault.New(fault.Invalid, "entry %q is a hard link to %q, which is a directory", name, target)
	}
	return pathError("link", name, err)
}
