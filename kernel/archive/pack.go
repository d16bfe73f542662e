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
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	opaqueXattr   = "trusted.overlay.opaque"
	redirectXattr = "trusted.overlay.redirect"
	metacopyXattr = "trusted.overlay.metacopy"
)

// PackOptions says what Pack writes.
type PackOptions struct {
	// Skip leaves an entry, and what is below it, out; path is relative to the
	// packed directory, without a leading slash.
	Skip func(path string, st *unix.Stat_t) bool
	// Overlay reads the tree as an overlay's upper directory: its marks of what is
	// removed become whiteout entries.
	Overlay bool
	// Implied lists directories that get no entry of their own.
	Implied map[string]bool
	// OpaqueTop says that the top hides what lies below it; for Overlay.
	OpaqueTop bool
	// Owner, if set, says who an owner is in the archive.
	Owner func(uid, gid int) (int, int)
	// OmitTop leaves the entry of the packed path itself out.
	OmitTop bool
}

// Pack writes what is at at, below root, as entries named name, name/…, and not
// the end of the stream: several trees may follow each other. A link at at is
// packed as a link. Names that end in "/" or are "." are of directories. Sockets
// are left out; files that vanish meanwhile too.
func Pack(ctx context.Context, w *tar.Writer, root *inroot.Root, at, name string, o PackOptions) error {
	p := &packer{ctx: ctx, w: w, root: root, o: o, links: map[inode]string{}, buf: make([]byte, copyBuffer)}
	return p.entry(at, name, "", 0)
}

type inode struct{ dev, ino uint64 }

type packer struct {
	ctx   context.Context
	w     *tar.Writer
	root  *inroot.Root
	o     PackOptions
	links map[inode]string
	buf   []byte
	n     int
}

// entry packs what is at at; rel is its path relative to the packed one.
func (p *packer) entry(at, name, rel string, depth int) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	flags := unix.O_PATH | unix.O_NOFOLLOW
	if depth == 0 && endsInside(at) {
		flags = unix.O_PATH // the slash at the end asks for what the link leads to
	}
	f, err := p.root.Open(at, flags, 0)
	if depth > 0 && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "examine", Path: at, Err: err}
	}
	if p.o.Skip != nil && rel != "" && p.o.Skip(rel, &st) {
		return nil
	}
	if p.o.Owner != nil {
		uid, gid := p.o.Owner(int(st.Uid), int(st.Gid))
		st.Uid, st.Gid = uint32(uid), uint32(gid)
	}
	if p.n++; p.n > MaxEntries {
		return fmt.Errorf("more than %d files", MaxEntries)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return p.directory(f, at, name, rel, &st, depth)
	}
	return p.file(f, at, name, &st)
}

func endsInside(at string) bool { return strings.HasSuffix(at, "/") || strings.HasSuffix(at, "/.") }

func (p *packer) directory(f *os.File, at, name, rel string, st *unix.Stat_t, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: directories are nested more than %d deep", at, maxDepth)
	}
	self := procPath(f)
	if p.o.Overlay && hasXattr(self, redirectXattr) {
		return fmt.Errorf("%s: the directory was renamed inside the overlay (redirect_dir); its content cannot be read from the upper layer", at)
	}
	if (!p.o.OmitTop || depth > 0) && !p.o.Implied[rel] {
		h := header(strings.TrimSuffix(name, "/")+"/", st)
		h.Typeflag = tar.TypeDir
		xattrs(self, h)
		if err := p.w.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	if p.o.Overlay && (depth > 0 && hasXattr(self, opaqueXattr) || depth == 0 && p.o.OpaqueTop) {
		if err := p.mark(path.Join(name, OpaqueMarker)); err != nil {
			return err
		}
	}
	// Listing through the descriptor: the directory that was described is the one
	// that is read, whatever stands at its path by now.
	dir := inroot.From(f)
	entries, err := dir.ReadDir(".", maxDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b inroot.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range entries {
		if err := p.entry(path.Join(at, e.Name), child(name, e.Name), path.Join(rel, e.Name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// child keeps a leading "./" or "/", by which clients know the packed directory.
func child(name, base string) string {
	switch name {
	case "":
		return base
	case "/":
		return "/" + base
	}
	return strings.TrimSuffix(name, "/") + "/" + base
}

func (p *packer) file(f *os.File, at, name string, st *unix.Stat_t) error {
	h := header(name, st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(f.Fd()), "", buf)
		if err != nil {
			return &fs.PathError{Op: "readlink", Path: at, Err: err}
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(buf[:n])
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		if p.o.Overlay && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			dir, base := path.Split(name)
			return p.mark(dir + WhiteoutPrefix + base)
		}
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	case unix.S_IFREG:
		return p.regular(f, at, h, st)
	}
	if p.linked(h, st) {
		return p.write(at, h)
	}
	xattrs(procPath(f), h)
	return p.write(at, h)
}

func (p *packer) write(at string, h *tar.Header) error {
	if err := p.w.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// linked makes a further name of a file that was written a hard link.
func (p *packer) linked(h *tar.Header, st *unix.Stat_t) bool {
	if st.Nlink < 2 {
		return false
	}
	id := inode{st.Dev, st.Ino}
	if first, ok := p.links[id]; ok {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return true
	}
	if len(p.links) < maxLinks {
		p.links[id] = h.Name
	}
	return false
}

func (p *packer) regular(f *os.File, at string, h *tar.Header, st *unix.Stat_t) error {
	h.Typeflag = tar.TypeReg
	if p.linked(h, st) {
		return p.write(at, h)
	}
	self := procPath(f)
	if p.o.Overlay && hasXattr(self, metacopyXattr) {
		return fmt.Errorf("%s: only the attributes of the file are in the upper layer (metacopy); its content cannot be read from there", at)
	}
	// What the handle names is a regular file; opening it again cannot block.
	content, err := os.OpenFile(self, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		content, err = os.OpenFile(self, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: at, Err: errno(err)}
	}
	defer content.Close()
	xattrs(self, h)
	h.Size = st.Size
	if err := p.write(at, h); err != nil {
		return err
	}
	return p.content(content, at, st.Size)
}

// content writes exactly size bytes: a file that shrinks meanwhile is filled up
// with zeros, and what it grows by is left out.
func (p *packer) content(f *os.File, at string, size int64) error {
	for left := size; left > 0; {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(p.buf[:min(int64(len(p.buf)), left)])
		switch {
		case err == io.EOF:
			clear(p.buf)
			n = int(min(int64(len(p.buf)), left))
		case err != nil:
			return &fs.PathError{Op: "read", Path: at, Err: errno(err)}
		}
		if _, err := p.w.Write(p.buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// mark writes an empty file that stands for something removed.
func (p *packer) mark(name string) error {
	return p.write(name, &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatPAX, ModTime: time.Unix(0, 0)})
}

func header(name string, st *unix.Stat_t) *tar.Header {
	return &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), Format: tar.FormatPAX,
		// Whole seconds, as Docker's archives have, keep the entries small.
		ModTime: time.Unix(st.Mtim.Sec, 0),
	}
}

func xattrs(self string, h *tar.Header) {
	var list [4096]byte
	n, err := unix.Listxattr(self, list[:])
	if err != nil || n <= 0 {
		return
	}
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if !portableXattr(name) {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Getxattr(self, name, value)
		// A PAX record cannot hold NUL in its key or "=": such names stay behind.
		if err != nil || strings.Contains(name, "=") {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+name] = string(value[:n])
	}
}

func hasXattr(self, name string) bool {
	n, err := unix.Getxattr(self, name, nil)
	return err == nil && n > 0
}

func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// errno takes the path of our own /proc out of an error.
func errno(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
