package layer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// A layer keeps the recipe of its tar: every byte of it that is not the content
// of a file, and where the content of files goes. With it, Tar writes the tar
// again byte for byte, so that an image leaves with the digests it came with and
// a layer's files can be verified against its name. It is what tar-split does, in
// a form that streams.
//
// The file tar.zst beside the tree is zstd; inside are records: a length and as
// many bytes of the tar, then the length of a path, and if that is not 0 the path
// below the tree's root and the number of bytes to take from the file there. All
// numbers are unsigned varints. It takes about 0.3 % of the layer.
const recipeFile = "tar.zst"

const (
	// recipeWindow keeps encoder and decoder small: headers repeat close by.
	recipeWindow = 512 * kib
	// recipeRun is the longest run of raw bytes in one record.
	recipeRun = 64 * kib
	// maxRecipe bounds the raw bytes; 4 million entries of Debian's archive have
	// less. A tar with more has no recipe.
	maxRecipe = 4 * gib
)

// recipe records a tar while it is read.
type recipe struct {
	r    io.Reader // the tar
	f    *os.File
	z    *zstd.Encoder
	run  []byte
	raw  int64
	hold bool  // what is read is content of a file
	gone bool  // the tar cannot be made again
	size int64 // of the file, after finish
	err  error
}

func newRecipe(r io.Reader, dir string, w *workspace) (*recipe, error) {
	f, err := os.OpenFile(filepath.Join(dir, recipeFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, pathError("make", recipeFile, err)
	}
	if w.encoder != nil {
		w.encoder.Reset(f)
	} else if w.encoder, err = zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(recipeWindow), zstd.WithLowerEncoderMem(true)); err != nil {
		f.Close()
		return nil, err
	}
	return &recipe{r: r, f: f, z: w.encoder, run: make([]byte, 0, recipeRun)}, nil
}

func (c *recipe) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if !c.hold && !c.gone {
		c.record(p[:n])
	}
	return n, err
}

func (c *recipe) record(p []byte) {
	if c.raw += int64(len(p)); c.raw > maxRecipe {
		c.gone = true
		return
	}
	for len(p) > 0 {
		n := copy(c.run[len(c.run):cap(c.run)], p)
		c.run = c.run[:len(c.run)+n]
		p = p[n:]
		if len(c.run) == cap(c.run) {
			c.write("", 0)
		}
	}
}

// write ends a record.
func (c *recipe) write(path string, size int64) {
	if c.gone || c.err != nil {
		return
	}
	var number [binary.MaxVarintLen64]byte
	put := func(p []byte) {
		if c.err == nil {
			_, c.err = c.z.Write(p)
		}
	}
	varint := func(v uint64) { put(number[:binary.PutUvarint(number[:], v)]) }
	varint(uint64(len(c.run)))
	put(c.run)
	c.run = c.run[:0]
	varint(uint64(len(path)))
	if path != "" {
		put([]byte(path))
		varint(uint64(size))
	}
}

// content says that size bytes, which follow, are the content of the file.
func (c *recipe) content(real string, size int64) {
	c.write(real, size)
	c.hold = true
}

// lost says that what was recorded as content is not in the tree any more.
func (c *recipe) lost() { c.gone = true }

// finish completes the file and tells whether the tar can be made again.
func (c *recipe) finish() (bool, error) {
	c.write("", 0)
	err := errors.Join(c.err, c.z.Close())
	if st, serr := c.f.Stat(); serr == nil {
		c.size = st.Size()
	}
	err = errors.Join(err, c.f.Close())
	if err != nil {
		return false, pathError("write", recipeFile, err)
	}
	if c.gone {
		return false, pathError("remove", recipeFile, os.Remove(c.f.Name()))
	}
	return true, nil
}

func (c *recipe) close() {
	c.z.Close()
	c.f.Close()
}

// Tar writes the tar that a layer was unpacked from, byte for byte, and verifies
// it: fault.Unavailable says that files of the layer are damaged. A layer without
// a recipe is fault.NotImplemented: see Info.TarSize.
func (s *Store) Tar(ctx context.Context, id digest.Digest, w io.Writer) error {
	info, err := s.Stat(id)
	if err != nil {
		return err
	}
	if info.TarSize == 0 {
		return fault.New(fault.NotImplemented, "the tar of layer %s cannot be made again: it has several entries for one name", id)
	}
	sum := id.Algorithm().Hash()
	if err := s.cook(ctx, id, io.MultiWriter(sum, w)); err != nil {
		var broken *brokenError
		if errors.As(err, &broken) {
			return damaged(id, err)
		}
		return fmt.Errorf("read layer %s: %w", id, err)
	}
	if got := digest.NewDigest(id.Algorithm(), sum); got != id {
		return fault.New(fault.Unavailable, "layer %s is damaged on disk: its tar has digest %s (sampan system check --repair, or remove the image and get it again)", id, got)
	}
	return nil
}

// brokenError is what is wrong with a layer's files, or its recipe, rather than
// with whoever reads them.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

func broken(err error) error {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) {
		return err
	}
	return &brokenError{err}
}

func (s *Store) cook(ctx context.Context, id digest.Digest, w io.Writer) error {
	f, err := os.Open(filepath.Join(s.path(id), recipeFile))
	if err != nil {
		return broken(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	root, err := inroot.Open(filepath.Join(s.path(id), rootDir))
	if err != nil {
		return err
	}
	defer root.Close()
	c := &cook{root: root, w: w, r: bufio.NewReaderSize(z, recipeRun), buf: make([]byte, copyBuffer)}
	defer c.leave()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.step(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// cook follows a recipe.
type cook struct {
	root   *inroot.Root
	w      io.Writer
	r      *bufio.Reader
	buf    []byte
	parent *os.File // of the last file
	name   string   // of parent
}

func (c *cook) leave() {
	if c.parent != nil {
		c.parent.Close()
		c.parent = nil
	}
}

func (c *cook) step() error {
	n, err := binary.ReadUvarint(c.r)
	if err == io.EOF {
		return err // between records: the end
	}
	if err != nil {
		return broken(err)
	}
	for n > 0 {
		k, err := io.ReadFull(c.r, c.buf[:min(n, uint64(len(c.buf)))])
		if err != nil {
			return broken(unexpected(err))
		}
		if _, err := c.w.Write(c.buf[:k]); err != nil {
			return err
		}
		n -= uint64(k)
	}
	if n, err = binary.ReadUvarint(c.r); err != nil {
		return broken(unexpected(err))
	}
	if n == 0 {
		return nil
	}
	if n > maxPath {
		return broken(errors.New("the recipe of its tar is not valid"))
	}
	name := c.buf[:n]
	if _, err := io.ReadFull(c.r, name); err != nil {
		return broken(unexpected(err))
	}
	at := string(name)
	size, err := binary.ReadUvarint(c.r)
	if err != nil {
		return broken(unexpected(err))
	}
	return c.file(at, int64(size))
}

func (c *cook) file(at string, size int64) error {
	if up := path.Dir(at); c.parent == nil || up != c.name {
		c.leave()
		f, err := c.root.Open(up, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return broken(err)
		}
		c.parent, c.name = f, up
	}
	// What is there is a regular file that the extraction made, or the layer is
	// damaged; O_NONBLOCK keeps a FIFO from stopping us.
	fd, err := unix.Openat(int(c.parent.Fd()), path.Base(at), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return broken(&os.PathError{Op: "open", Path: at, Err: err})
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: at, Err: err}
	}
	if st.Size != size {
		return broken(fmt.Errorf("%q has %d bytes, not %d", at, st.Size, size))
	}
	for left := size; left > 0; {
		n, err := unix.Read(fd, c.buf[:min(left, int64(len(c.buf)))])
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return broken(&os.PathError{Op: "read", Path: at, Err: err})
		}
		if _, err := c.w.Write(c.buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
