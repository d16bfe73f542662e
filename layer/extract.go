package layer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	// maxEntries bounds the entries of one layer: an ext4 of 64 GB has as many inodes.
	maxEntries = 4 << 20
	// copyBuffer is what one write takes of a file.
	copyBuffer = 256 * kib
	// maxSparse bounds the sum of the sparse files' sizes, which a few bytes of
	// a header can claim and which must be walked through.
	maxSparse = 256 * gib
	// hole is the smallest run of zeros that a sparse file leaves out.
	hole = 4 * kib
)

// extractor turns one tar into a tree. dir holds fs/, the tree, and gone/,
// what entries of the tar replaced.
type extractor struct {
	dir        string
	root       *inroot.Root
	dirs       *directories
	recipe     *recipe
	buf        []byte
	content    io.Reader // of the current entry
	size, disk int64
	sparse     int64
	gone       int
	opaqueRoot bool
	umask      uint32
	setgid     bool        // a directory gives its group to what is made in it
	written    func(int64) // told of every file's size
}

// extract reads the tar to its end, trailing bytes too, into dir/fs.
func extract(ctx context.Context, r io.Reader, dir string, w *workspace, umask uint32, written func(int64)) (*Info, error) {
	if err := os.Mkdir(filepath.Join(dir, "fs"), impliedMode); err != nil {
		return nil, err
	}
	root, err := inroot.Open(filepath.Join(dir, "fs"))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := os.Chmod(filepath.Join(dir, "fs"), impliedMode); err != nil {
		return nil, err
	}
	dirs, err := newDirectories(root)
	if err != nil {
		return nil, err
	}
	defer dirs.forget()
	rec, err := newRecipe(r, dir, w)
	if err != nil {
		return nil, err
	}
	defer rec.close()
	x := &extractor{dir: dir, root: root, dirs: dirs, recipe: rec, written: written, umask: umask, buf: w.copy[:]}
	if err := x.entries(ctx, tar.NewReader(rec)); err != nil {
		return nil, err
	}
	implied, err := dirs.finish()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(implied, shorterFirst)
	// The diffID covers every byte, also after the tar's end marker.
	if _, err := io.Copy(io.Discard, rec); err != nil {
		return nil, err
	}
	kept, err := rec.finish()
	if err != nil {
		return nil, err
	}
	// Beside the tree lie two files; each directory takes a block.
	x.disk += blocks4k(rec.size) + diskBlock + int64(dirs.count+1)*diskBlock
	return &Info{recipe: kept, Size: x.size, Disk: x.disk, Implied: implied, OpaqueRoot: x.opaqueRoot}, nil
}

func (x *extractor) entries(ctx context.Context, t *tar.Reader) error {
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return tarError(n, err)
		}
		if n == maxEntries {
			return fault.New(fault.Invalid, "the archive has more than %d entries", maxEntries)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		x.content = t
		if err := x.entry(h); err != nil {
			return tarError(n, err)
		}
	}
}

// tarError tells a user what is wrong with an archive. Errors that have their
// class, or come from the source, stay as they are.
func tarError(n int, err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader) && n == 0:
		return fault.New(fault.Invalid, "this is not a tar archive (plain, or compressed with gzip, zstd, xz or bzip2)")
	case errors.Is(err, tar.ErrHeader):
		return fault.New(fault.Invalid, "the archive is damaged: the header of its entry number %d is not valid", n+1)
	case errors.Is(err, io.ErrUnexpectedEOF) && fault.Of(err) == nil && n == 0:
		return fault.New(fault.Invalid, "this is not a tar archive, or it is cut off in its first entry")
	case errors.Is(err, io.ErrUnexpectedEOF) && fault.Of(err) == nil:
		return fault.New(fault.Invalid, "the archive is cut off in its entry number %d", n+1)
	}
	return err
}

// discard moves a directory that an entry replaces out of the tree.
func (x *extractor) discard(parent *directory, base string) error {
	if x.gone++; x.gone == 1 {
		if err := os.Mkdir(filepath.Join(x.dir, "gone"), impliedMode); err != nil {
			return err
		}
	}
	return unix.Renameat(parent.fd(), base, unix.AT_FDCWD, filepath.Join(x.dir, "gone", strconv.Itoa(x.gone)))
}

func (x *extractor) file(parent *directory, name, base string, h *tar.Header) error {
	sparse := h.Typeflag == tar.TypeGNUSparse || isSparse(h)
	if sparse {
		if x.sparse += h.Size; h.Size > maxSparse || x.sparse > maxSparse {
			return fault.New(fault.Invalid, "the archive's sparse files are larger than %d GiB together", maxSparse/gib)
		}
	}
	// With the umask's bits it would be made with another mode; with set-id bits it
	// would have them before its owner.
	mode := uint32(h.Mode) & modeBits
	exact := mode&^(0o777&^x.umask) == 0
	if !exact {
		mode = 0o600
	}
	var fd int
	parent, err := x.create(parent, name, base, func(p *directory) (err error) {
		fd, err = unix.Openat(p.fd(), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return pathError("make file", name, err)
	}
	// The content of a sparse file is in the tar in another form: as raw bytes.
	if h.Size > 0 && !sparse {
		x.recipe.content(parent.join(base), h.Size)
	}
	err = x.fill(fd, name, h, sparse, exact)
	x.recipe.hold = false
	if err != nil {
		unix.Close(fd)
		return err
	}
	return pathError("close", name, unix.Close(fd))
}

func (x *extractor) fill(fd int, name string, h *tar.Header, sparse, exact bool) error {
	var end int64
	for {
		n, err := x.content.Read(x.buf)
		if n > 0 {
			if werr := x.write(fd, x.buf[:n], sparse); werr != nil {
				return pathError("write", name, werr)
			}
			end += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if sparse {
		if err := unix.Ftruncate(fd, end); err != nil {
			return pathError("write", name, err)
		}
	}
	x.size += end
	x.disk += blocks4k(end)
	x.written(end)
	if err := x.attributes(fd, name, h, exact); err != nil {
		return err
	}
	atime, mtime := timestamps(h)
	return pathError("set the times of", name, futimens(fd, atime, mtime))
}

// write writes p at the file's offset, leaving out runs of zeros in a sparse file.
func (x *extractor) write(fd int, p []byte, sparse bool) error {
	for len(p) > 0 {
		n := len(p)
		if sparse {
			n = min(n, hole)
			if isZero(p[:n]) {
				if _, err := unix.Seek(fd, int64(n), unix.SEEK_CUR); err != nil {
					return err
				}
				p = p[n:]
				continue
			}
		}
		n, err := unix.Write(fd, p[:n])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// diskBlock is what file systems give a file at least.
const diskBlock = 4 * kib

func blocks4k(n int64) int64 { return (n + diskBlock - 1) / diskBlock * diskBlock }

func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, paxSparse) {
			return true
		}
	}
	return false
}
