package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

// UnpackOptions says how Unpack treats entries.
type UnpackOptions struct {
	// MapOwner, if set, says who an owner of the archive, or Owner, is on the file system.
	MapOwner func(uid, gid int) (int, int)
	// Owner, if set, becomes the owner of everything (uid, gid).
	Owner *[2]int
	// KeepOwner leaves owners as the process makes them, and ignores Owner.
	KeepOwner bool
	// NoOverwriteDirNonDir refuses to replace a directory by something else, and
	// the other way round.
	NoOverwriteDirNonDir bool
	// From and To rename: entries must be From or below it and become To or what is
	// below that; From "." is any entry, To "." the directory itself. Empty From
	// renames nothing.
	From, To string
	// UserXattrs restores the user.* attributes only.
	UserXattrs bool
}

// Unpack reads a plain tar to its end and makes its entries below the directory
// dir of root. An entry replaces what has its name, but a directory is merged
// with one that is there. Links in the way are followed inside the root.
func Unpack(ctx context.Context, r io.Reader, root *inroot.Root, dir string, o UnpackOptions) error {
	u := &unpacker{root: root, dir: dir, o: o, buf: make([]byte, copyBuffer)}
	defer u.forget()
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged(n, err)
		}
		if n == MaxEntries {
			return invalid("the archive has more than %d entries", MaxEntries)
		}
		if err := u.entry(ctx, t, h); err != nil {
			return err
		}
	}
	return u.finish()
}

func damaged(n int, err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader) && n == 0:
		return invalid("this is not a tar archive")
	case errors.Is(err, tar.ErrHeader):
		return invalid("the archive is damaged: the header of its entry number %d is not valid", n+1)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("the archive is cut off in its entry number %d", n+1)
	}
	return fmt.Errorf("read the archive: %w", err)
}

type unpacker struct {
	root *inroot.Root
	dir  string
	o    UnpackOptions
	buf  []byte

	// The directory of the last entry: entries of one follow each other.
	parentPath string
	parent     *os.File

	dirs []dirTime
}

// dirTime is set at the end: every entry made in a directory changes it.
type dirTime struct {
	path  string
	mtime time.Time
}

func (u *unpacker) forget() {
	if u.parent != nil {
		u.parent.Close()
		u.parent = nil
	}
}

// clean turns an entry's name into a path below the place of extraction.
// Absolute names are taken as relative, as every tar does; names that climb out
// are refused.
func clean(name string) (string, error) {
	if len(name) > maxPath || strings.IndexByte(name, 0) >= 0 {
		return "", invalid("the archive has a name of %d bytes that is no path", len(name))
	}
	p := path.Clean(strings.TrimLeft(name, "/"))
	if p == ".." || strings.HasPrefix(p, "../") {
		return "", invalid("the archive's entry %q points outside of the directory it is unpacked to", name)
	}
	return p, nil
}

// clean is clean with the renaming.
func (u *unpacker) clean(name string) (string, error) {
	p, err := clean(name)
	if err != nil || u.o.From == "" {
		return p, err
	}
	rest, ok := p, true
	if u.o.From != "." && p != u.o.From {
		rest, ok = strings.CutPrefix(p, u.o.From+"/")
	} else if p == u.o.From {
		rest = ""
	}
	if !ok {
		return "", invalid("the archive's entry %q is not what was asked for (%q)", name, u.o.From)
	}
	return path.Join(u.o.To, rest), nil
}

func (u *unpacker) entry(ctx context.Context, content io.Reader, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := u.clean(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return invalid("the archive's entry %q stands for the directory it is unpacked to, but is no directory", h.Name)
		}
		return nil // the directory there keeps its owner and mode
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > maxID || int64(h.Gid) > maxID {
		return invalid("the archive's entry %q has an owner out of range: %d:%d", name, h.Uid, h.Gid)
	}
	dir, base, err := u.enter(name)
	if err != nil {
		return err
	}
	exists, err := u.makeRoom(dir, name, base, h)
	if err != nil {
		return err
	}
	full := path.Join(u.dir, name)
	switch h.Typeflag {
	case tar.TypeDir:
		return u.directory(dir, full, base, exists, h)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return u.file(ctx, content, dir, full, base, h)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, int(dir.Fd()), base); err != nil {
			return &fs.PathError{Op: "symlink", Path: full, Err: err}
		}
	case tar.TypeLink:
		return u.link(dir, full, base, h)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if err := unix.Mknodat(int(dir.Fd()), base, nodeMode(h), int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))); err != nil {
			return &fs.PathError{Op: "mknod", Path: full, Err: err}
		}
	default:
		return invalid("the archive's entry %q has the unknown type %q", name, h.Typeflag)
	}
	f, err := openAt(dir, base, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "open", Path: full, Err: err}
	}
	defer f.Close()
	return u.attributes(f, full, h)
}

// enter opens the directory of an entry, which it makes if it is missing.
func (u *unpacker) enter(name string) (*os.File, string, error) {
	up, base := path.Split(name)
	full := path.Join(u.dir, up)
	if u.parent != nil && u.parentPath == full {
		return u.parent, base, nil
	}
	f, err := u.root.MkdirAll(full, 0o755)
	if err != nil {
		return nil, "", err
	}
	u.forget()
	u.parent, u.parentPath = f, full
	return f, base, nil
}

// makeRoom removes what an entry replaces, and tells whether a directory is there
// that a directory's entry is merged with.
func (u *unpacker) makeRoom(dir *os.File, name, base string, h *tar.Header) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "examine", Path: name, Err: err}
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case isDir && h.Typeflag == tar.TypeDir:
		return true, nil
	case u.o.NoOverwriteDirNonDir && isDir:
		return false, invalid("cannot overwrite directory %q with non-directory %q", path.Join(u.dir, name), u.dir)
	case u.o.NoOverwriteDirNonDir && h.Typeflag == tar.TypeDir:
		return false, invalid("cannot overwrite non-directory %q with directory %q", path.Join(u.dir, name), u.dir)
	}
	if err := u.root.RemoveAll(path.Join(u.dir, name)); err != nil {
		return false, err
	}
	return false, nil
}

func (u *unpacker) directory(parent *os.File, full, base string, exists bool, h *tar.Header) error {
	if !exists {
		if err := unix.Mkdirat(int(parent.Fd()), base, 0o700); err != nil {
			return &fs.PathError{Op: "mkdir", Path: full, Err: err}
		}
	}
	f, err := openAt(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "open", Path: full, Err: err}
	}
	defer f.Close()
	if len(u.dirs) < maxDir {
		u.dirs = append(u.dirs, dirTime{full, h.ModTime})
	}
	return u.attributes(f, full, h)
}

func (u *unpacker) file(ctx context.Context, content io.Reader, parent *os.File, full, base string, h *tar.Header) error {
	f, err := openAt(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "create", Path: full, Err: err}
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := content.Read(u.buf)
		if n > 0 {
			if _, werr := f.Write(u.buf[:n]); werr != nil {
				return &fs.PathError{Op: "write", Path: full, Err: errno(werr)}
			}
		}
		if err == io.EOF {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return invalid("the archive is cut off in its entry %q", h.Name)
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
	}
	return u.attributes(f, full, h)
}

func (u *unpacker) link(parent *os.File, full, base string, h *tar.Header) error {
	target, err := u.clean(h.Linkname)
	if err != nil {
		return err
	}
	from, was, err := u.root.Parent(path.Join(u.dir, target))
	if err != nil {
		return err
	}
	defer from.Close()
	if err := unix.Linkat(int(from.Fd()), was, int(parent.Fd()), base, 0); err != nil {
		return &os.LinkError{Op: "link", Old: path.Join(u.dir, target), New: full, Err: err}
	}
	return nil
}

// attributes come last: writing changes times, and a change of owner drops the
// set-id bits and capabilities.
func (u *unpacker) attributes(f *os.File, full string, h *tar.Header) error {
	fail := func(op string, err error) error {
		if err == nil {
			return nil
		}
		return &fs.PathError{Op: op, Path: full, Err: err}
	}
	fd, self := int(f.Fd()), procPath(f)
	if !u.o.KeepOwner {
		uid, gid := h.Uid, h.Gid
		if u.o.Owner != nil {
			uid, gid = u.o.Owner[0], u.o.Owner[1]
		}
		if u.o.MapOwner != nil {
			uid, gid = u.o.MapOwner(uid, gid)
		}
		if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
			return fail("chown", err)
		}
	}
	link := h.Typeflag == tar.TypeSymlink
	if !link {
		if err := unix.Chmod(self, uint32(h.Mode)&0o7777); err != nil {
			return fail("chmod", err)
		}
		for key, value := range h.PAXRecords {
			name, ok := strings.CutPrefix(key, paxXattr)
			if !ok || !portableXattr(name) || u.o.UserXattrs && !strings.HasPrefix(name, "user.") {
				continue
			}
			err := unix.Setxattr(self, name, []byte(value), 0)
			if err != nil && err != unix.ENOTSUP && err != unix.EPERM && err != unix.EROFS {
				return fail("set attribute "+name+" of", err)
			}
		}
	}
	if h.Typeflag == tar.TypeDir {
		return nil // at the end
	}
	return fail("set times of", setTime(fd, h.ModTime))
}

func setTime(fd int, t time.Time) error {
	sec := max(min(t.Unix(), 1<<34-1), 0)
	ts := []unix.Timespec{{Sec: sec, Nsec: int64(t.Nanosecond())}, {Sec: sec, Nsec: int64(t.Nanosecond())}}
	return unix.UtimesNanoAt(fd, "", ts, unix.AT_EMPTY_PATH)
}

// finish sets the times of the directories, the deepest first.
func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		err := u.root.Utimes(u.dirs[i].path, u.dirs[i].mtime, u.dirs[i].mtime)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func nodeMode(h *tar.Header) uint32 {
	mode := uint32(h.Mode) & 0o7777
	switch h.Typeflag {
	case tar.TypeChar:
		return mode | unix.S_IFCHR
	case tar.TypeBlock:
		return mode | unix.S_IFBLK
	}
	return mode | unix.S_IFIFO
}

func openAt(dir *os.File, base string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), base, flags|unix.O_CLOEXEC, 0o600)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), base), nil
	}
}
