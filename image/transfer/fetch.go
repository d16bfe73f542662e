package transfer

import (
	"context"
	"io"

	"github.com/sampan-containers/sampan/content"
)

const (
	fetchBlock  = 256 * kib
	fetchBlocks = 4
)

// fetch reads a blob ahead of its unpacking: a goroutine takes bytes from the
// network, hashes and keeps them, and hands them on. It reads to the blob's end
// even if nobody wants the bytes any more, so that the digest can be told.
type fetch struct {
	full, free chan []byte
	ignored    chan struct{} // closed: nobody reads any more
	ended      chan struct{} // closed: err is valid
	err        error
	cur, rest  []byte
}

// ahead is the memory of one fetch.
type ahead [fetchBlocks][fetchBlock]byte

// startFetch reads what w has already and then body, which goes into w.
func startFetch(ctx context.Context, w *content.Writer, body io.Reader, p *part, memory *ahead) *fetch {
	f := &fetch{full: make(chan []byte, fetchBlocks), free: make(chan []byte, fetchBlocks), ignored: make(chan struct{}), ended: make(chan struct{})}
	for i := range memory {
		f.free <- memory[i][:]
	}
	go func() {
		defer close(f.ended)
		defer close(f.full)
		p.done.Store(0)
		if f.err = f.copy(ctx, w.Partial(), io.Discard, p); f.err == nil {
			f.err = f.copy(ctx, body, w, p)
		}
	}()
	return f
}

func (f *fetch) copy(ctx context.Context, from io.Reader, to io.Writer, p *part) error {
	var spare []byte // for when nobody gives blocks back
	for {
		var block []byte
		select {
		case block = <-f.free:
		case <-f.ignored:
			if spare == nil {
				spare = make([]byte, fetchBlock)
			}
			block = spare
		case <-ctx.Done():
			return ctx.Err()
		}
		n, err := fill(from, block)
		if n > 0 {
			if _, werr := to.Write(block[:n]); werr != nil {
				return werr
			}
			p.done.Add(int64(n))
			f.hand(block[:n])
		} else {
			f.give(block)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// hand passes a block on, unless nobody reads any more: then it may be the spare
// one, which is written to again.
func (f *fetch) hand(block []byte) {
	select {
	case <-f.ignored:
		return
	default:
	}
	select {
	case f.full <- block:
	case <-f.ignored:
	}
}

func (f *fetch) give(block []byte) {
	select {
	case f.free <- block:
	default:
	}
}

// fill reads until a block is full or the source pauses for its end. A block
// that came in small pieces would cost the unpacking a switch for each.
func fill(r io.Reader, block []byte) (n int, err error) {
	for n < len(block) && err == nil {
		var k int
		k, err = r.Read(block[n:])
		n += k
	}
	return n, err
}

// Read gives the unpacking its bytes.
func (f *fetch) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		if f.cur != nil {
			f.give(f.cur[:cap(f.cur)])
			f.cur = nil
		}
		block, ok := <-f.full
		if !ok {
			if f.err != nil {
				return 0, f.err
			}
			return 0, io.EOF
		}
		f.cur, f.rest = block, block
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// finish reads the rest without a reader and returns how it ended.
func (f *fetch) finish() error {
	close(f.ignored)
	<-f.ended
	return f.err
}
