package layer

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/ulikunitz/xz"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/layer/inflate"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

const (
	// blockSize and blocks bound what is decompressed ahead of the extraction, which
	// is slow where files are small and fast where they are large.
	blockSize = 256 * kib
	blocks    = 16
	// maxWindow is the largest zstd window and xz dictionary a decoder may
	// allocate: what zstd --long=27 writes; xz -9 needs half of it.
	maxWindow = 128 * mib
	// A stream of more than bombFloor bytes that is compressed better than
	// bombRatio:1 holds nothing but repetition: file systems compress 2 to 10
	// times, and gzip cannot do better than 1032:1.
	bombFloor = gib
	bombRatio = 500
)

// peekBuffer is for the first bytes; decoders that read more at a time bypass it.
const peekBuffer = 16 * kib

// magicSize is the longest prefix in magics.
const magicSize = 6

var magics = []struct {
	prefix string
	open   func(*bufio.Reader, *workspace) (filler, func(), error)
}{
	{"\x1f\x8b", openGzip},
	{"\x28\xb5\x2f\xfd", openZstd},
	{"BZh", openBzip2},
	{"\xfd7zXZ\x00", openXz},
}

// filler decompresses into block[history:], before which the last bytes of what
// came before stand, and returns less than fits only with an error. io.EOF (the
// data ended) is another one than a decoder's io.ErrUnexpectedEOF (it is cut off).
type filler interface {
	Fill(block []byte, history int) (int, error)
}

type plainReader struct{ io.Reader }

func (r plainReader) Fill(block []byte, history int) (n int, err error) {
	block = block[history:]
	for n < len(block) && err == nil {
		var k int
		k, err = r.Read(block[n:])
		n += k
	}
	return n, err
}

func openGzip(r *bufio.Reader, w *workspace) (filler, func(), error) {
	w.gzip.Reset(r)
	return &w.gzip, func() {}, nil
}

func openBzip2(r *bufio.Reader, _ *workspace) (filler, func(), error) {
	return plainReader{bzip2.NewReader(r)}, func() {}, nil
}

func openZstd(r *bufio.Reader, w *workspace) (filler, func(), error) {
	if w.zstd == nil {
		// With one thread it has no goroutine, and so needs no Close.
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		w.zstd = z
	}
	if err := w.zstd.Reset(r); err != nil {
		return nil, nil, err
	}
	return plainReader{w.zstd}, func() { _ = w.zstd.Reset(nil) }, nil
}

func openXz(r *bufio.Reader, _ *workspace) (filler, func(), error) {
	z, err := xz.NewReader(bufio.NewReader(&xzFrames{r: r}))
	return plainReader{z}, func() {}, err
}

// stream is a tar being decompressed. One goroutine decompresses and another hashes
// what that gives, beside the extraction: each of the three takes about as long.
type stream struct {
	full, free chan *block
	quit       chan struct{}
	cur        *block
	rest       []byte // of cur
	err        error  // why full was closed; valid after that
	work       *workspace

	in  atomic.Int64
	out int64
	sum hash.Hash // nil: nobody asks for the digest
	// unhashed are blocks for sum; hashed is closed when it has had the last.
	unhashed chan *block
	hashed   chan struct{}
}

// block is decompressed data, behind room for the end of the block before it: gzip
// refers to that.
type block struct {
	buf   [inflate.Window + blockSize]byte
	n     int
	users atomic.Int32 // of the hashing and the extraction; the last one frees it
}

func (b *block) data() []byte { return b.buf[inflate.Window : inflate.Window+b.n] }

// newStream begins to read r. close must follow; r may be read until the
// source's own end or failure even after close, so the owner of r closes it. The
// stream works in w until it is done.
func newStream(ctx context.Context, r io.Reader, sum hash.Hash, w *workspace) *stream {
	s := &stream{
		full: make(chan *block, blocks),
		free: make(chan *block, blocks),
		quit: make(chan struct{}),
		sum:  sum,
		work: w,
	}
	for i := range w.blocks {
		s.free <- &w.blocks[i]
	}
	if sum != nil {
		s.unhashed, s.hashed = make(chan *block, blocks), make(chan struct{})
		go s.hash()
	}
	go s.produce(ctx, r)
	return s
}

func (s *stream) hash() {
	defer close(s.hashed)
	for b := range s.unhashed {
		s.sum.Write(b.data())
		s.drop(b)
	}
}

// drop ends one use of a block.
func (s *stream) drop(b *block) {
	if b.users.Add(-1) == 0 {
		s.free <- b
	}
}

func (s *stream) close() { close(s.quit) }

// digest is the diffID; valid once Read has returned io.EOF.
func (s *stream) digest() digest.Digest {
	<-s.hashed
	return digest.NewDigest(digest.SHA256, s.sum)
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.cur != nil {
			s.drop(s.cur)
			s.cur = nil
		}
		next, ok := <-s.full
		if !ok {
			return 0, s.err
		}
		s.cur, s.rest = next, next.data()
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) produce(ctx context.Context, r io.Reader) {
	defer close(s.full)
	if s.sum != nil {
		defer close(s.unhashed)
	}
	plain, done, err := s.decompress(&counted{ctx: ctx, r: r, n: &s.in})
	if err != nil {
		s.err = err
		return
	}
	defer done()
	var before []byte // the end of the last block
	for {
		var next *block
		select {
		case next = <-s.free:
		case <-s.quit:
			s.err = context.Canceled
			return
		}
		history := copy(next.buf[inflate.Window-len(before):], before)
		next.n, err = plain.Fill(next.buf[inflate.Window-history:], history)
		before = next.buf[inflate.Window+next.n-min(inflate.Window, history+next.n) : inflate.Window+next.n]
		s.out += int64(next.n)
		if next.n > 0 {
			next.users.Store(1)
			if s.sum != nil {
				next.users.Store(2)
				s.unhashed <- next // as large as all blocks: it never waits
			}
			select {
			case s.full <- next:
			case <-s.quit:
				s.err = context.Canceled
				return
			}
		}
		if err == nil {
			err = s.bomb()
		}
		if err != nil {
			s.err = s.explain(err)
			return
		}
	}
}

// explain turns a decoder's error into the end of the stream, a failure of the
// source, or a fault of the data.
func (s *stream) explain(err error) error {
	var source *sourceError
	switch {
	case errors.As(err, &source):
		return fmt.Errorf("read the archive: %w", source.err)
	case err == io.EOF:
		return io.EOF
	case fault.Of(err) != nil:
		return err
	}
	return fault.New(fault.Invalid, "the archive's compressed data is damaged after %d bytes: %w", s.in.Load(), err)
}

func (s *stream) bomb() error {
	if in := s.in.Load(); s.out > bombFloor && s.out/bombRatio > in {
		return fault.New(fault.Invalid, "the archive is a decompression bomb: %d compressed bytes became more than %d", in, s.out)
	}
	return nil
}

func (s *stream) decompress(r io.Reader) (filler, func(), error) {
	b := bufio.NewReaderSize(r, peekBuffer)
	head, err := b.Peek(magicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, s.explain(err)
	}
	for _, m := range magics {
		if !bytes.HasPrefix(head, []byte(m.prefix)) {
			continue
		}
		z, done, err := m.open(b, s.work)
		if err != nil {
			return nil, nil, s.explain(err)
		}
		return z, done, nil
	}
	return plainReader{b}, func() {}, nil
}

// sourceError marks a failure of the source, which decoders pass on among
// their own.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

type counted struct {
	ctx context.Context
	r   io.Reader
	n   *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, &sourceError{err}
	}
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if err != nil && err != io.EOF {
		err = &sourceError{err}
	}
	return n, err
}

// Decompress returns the plain bytes of r, which may be compressed as a layer may
// be. Damage and bombs are fault.Invalid. stop must be called; r may be read until
// its own end or failure even after it. Bytes that are not compressed pass without
// a goroutine.
func Decompress(ctx context.Context, r io.Reader) (plain io.Reader, stop func()) {
	b := bufio.NewReaderSize(&interruptible{ctx, r}, 64*kib)
	if head, _ := b.Peek(magicSize); !Compressed(head) {
		return b, func() {}
	}
	s := newStream(ctx, b, nil, new(workspace))
	return s, s.close
}

// Compressed tells whether data that begins with head is in one of the
// compressions that a layer may have.
func Compressed(head []byte) bool {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			return true
		}
	}
	return false
}

// interruptible ends a reader with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
