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

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/ulikunitz/xz"

	"github.com/sampan-containers/sampan/fault"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

const (
	// blockSize and blocks bound what is decompressed ahead of the extraction.
	blockSize = 256 * kib
	blocks    = 4
	// maxWindow is the largest zstd window and xz dictionary a decoder may
	// allocate: what zstd --long=27 writes; xz -9 needs half of it.
	maxWindow = 128 * mib
	// A stream of more than bombFloor bytes that is compressed better than
	// bombRatio:1 holds nothing but repetition: file systems compress 2 to 10
	// times, and gzip cannot do better than 1032:1.
	bombFloor = gib
	bombRatio = 500
)

// magicSize is the longest prefix in magics.
const magicSize = 6

var magics = []struct {
	prefix string
	open   func(*bufio.Reader) (io.Reader, func(), error)
}{
	{"\x1f\x8b", openGzip},
	{"\x28\xb5\x2f\xfd", openZstd},
	{"BZh", func(r *bufio.Reader) (io.Reader, func(), error) { return bzip2.NewReader(r), func() {}, nil }},
	{"\xfd7zXZ\x00", openXz},
}

func openGzip(r *bufio.Reader) (io.Reader, func(), error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	return z, func() { z.Close() }, nil
}

func openZstd(r *bufio.Reader) (io.Reader, func(), error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
}

func openXz(r *bufio.Reader) (io.Reader, func(), error) {
	z, err := xz.NewReader(bufio.NewReader(&xzFrames{r: r}))
	return z, func() {}, err
}

// stream is a tar being decompressed. A goroutine of its own decompresses and
// hashes, so that this and the extraction use two cores.
type stream struct {
	full, free chan []byte
	quit       chan struct{}
	cur, rest  []byte
	err        error // why full was closed; valid after that

	in  atomic.Int64
	out int64
	sum hash.Hash // nil: nobody asks for the digest
}

// newStream begins to read r. close must follow; r may be read until the
// source's own end or failure even after close, so the owner of r closes it.
func newStream(ctx context.Context, r io.Reader, sum hash.Hash) *stream {
	s := &stream{
		full: make(chan []byte, blocks),
		free: make(chan []byte, blocks),
		quit: make(chan struct{}),
		sum:  sum,
	}
	for range blocks {
		s.free <- make([]byte, blockSize)
	}
	go s.produce(ctx, r)
	return s
}

func (s *stream) close() { close(s.quit) }

// digest is the diffID; valid once Read has returned io.EOF.
func (s *stream) digest() digest.Digest { return digest.NewDigest(digest.SHA256, s.sum) }

func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.cur != nil {
			s.free <- s.cur[:cap(s.cur)]
			s.cur = nil
		}
		block, ok := <-s.full
		if !ok {
			return 0, s.err
		}
		s.cur, s.rest = block, block
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) produce(ctx context.Context, r io.Reader) {
	defer close(s.full)
	plain, done, err := s.decompress(&counted{ctx: ctx, r: r, n: &s.in})
	if err != nil {
		s.err = err
		return
	}
	defer done()
	for {
		var block []byte
		select {
		case block = <-s.free:
		case <-s.quit:
			s.err = context.Canceled
			return
		}
		n, err := fill(plain, block)
		if s.sum != nil {
			s.sum.Write(block[:n])
		}
		s.out += int64(n)
		if n > 0 {
			select {
			case s.full <- block[:n]:
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

// fill is io.ReadFull, but keeps io.EOF (the data ended) apart from a decoder's
// io.ErrUnexpectedEOF (the data is cut off).
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.Read(p[n:])
		n += k
	}
	return n, err
}

func (s *stream) bomb() error {
	if in := s.in.Load(); s.out > bombFloor && s.out/bombRatio > in {
		return fault.New(fault.Invalid, "the archive is a decompression bomb: %d compressed bytes became more than %d", in, s.out)
	}
	return nil
}

func (s *stream) decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(r, 64*kib)
	head, err := b.Peek(magicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, s.explain(err)
	}
	for _, m := range magics {
		if !bytes.HasPrefix(head, []byte(m.prefix)) {
			continue
		}
		z, done, err := m.open(b)
		if err != nil {
			return nil, nil, s.explain(err)
		}
		return z, done, nil
	}
	return b, func() {}, nil
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
	s := newStream(ctx, b, nil)
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
