package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sampan-containers/sampan/fault"
)

// A registry that gives each connection little is asked for a big blob over several:
// when the first connection shows that the rest would take long, pieces ahead of it
// are fetched beside it, and handed on in order. A fast registry never sees that; one
// that knows no ranges goes on with its only connection.

const (
	// rangeSample and rangeLeast: how much is read before a rate is believed, and
	// how much must be left.
	rangeSample = 2 * mib
	rangeLeast  = 4 // pieces
	// maxPieces bounds the memory of all pieces of a Client.
	maxPieces = 8
)

// ahead is the pieces of one blob that are fetched before they are read.
type ahead struct {
	cancel context.CancelFunc
	queue  chan *piece // in order; closed after the last one
	done   sync.WaitGroup
	own    chan struct{} // bounds the pieces of this blob
	cur    *piece
	rest   []byte
}

type piece struct {
	data    []byte
	err     error
	fetched chan struct{}
}

// slow tells whether the rest of the blob is worth more connections.
func (b *blobReader) slow() bool {
	l := &b.s.r.c.limits
	if b.single || b.ahead != nil || l.Ranges < 2 || l.RangeSize <= 0 {
		return false
	}
	got, left := b.at-b.began, b.end-b.at
	if got < min(rangeSample, l.RangeSize) || left < rangeLeast*l.RangeSize {
		return false
	}
	return time.Duration(float64(b.waited)*float64(left)/float64(got)) > l.RangesAfter
}

// fetchAhead begins to fetch what follows the next piece, which the first connection
// still brings.
func (b *blobReader) fetchAhead() {
	l := &b.s.r.c.limits
	b.until = b.at + l.RangeSize
	ctx, cancel := context.WithCancel(b.ctx)
	a := &ahead{cancel: cancel, queue: make(chan *piece, l.Ranges), own: make(chan struct{}, l.Ranges)}
	b.ahead = a
	a.done.Go(func() {
		defer close(a.queue)
		for from := b.until; from < b.d.Size; from += l.RangeSize {
			if !take(ctx, a.own) || !take(ctx, b.s.r.c.pieces) {
				return
			}
			p := &piece{data: make([]byte, min(l.RangeSize, b.d.Size-from)), fetched: make(chan struct{})}
			a.queue <- p // has room: own is as large
			a.done.Go(func() {
				defer close(p.fetched)
				defer func() { <-b.s.r.c.pieces }()
				part := &blobReader{ctx: ctx, s: b.s, d: b.d, at: from, end: from + int64(len(p.data)), single: true, piece: true}
				_, p.err = io.ReadFull(part, p.data)
				p.err = errors.Join(p.err, part.Close())
			})
		}
	})
}

func take(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// fromAhead reads the pieces. When one fails, or the server knows no ranges, nothing
// is lost: the first connection goes on, or a new one does.
func (b *blobReader) fromAhead(p []byte) (int, error) {
	a := b.ahead
	for len(a.rest) == 0 {
		if a.cur != nil {
			a.cur = nil
			<-a.own
		}
		next, ok := <-a.queue
		if !ok {
			b.dropAhead()
			return 0, b.ctx.Err()
		}
		<-next.fetched
		if next.err != nil {
			b.dropAhead()
			return 0, b.ctx.Err()
		}
		if b.body != nil { // it has brought its piece, and others do the rest
			b.body.Close()
			b.body = nil
		}
		a.cur, a.rest = next, next.data
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// dropAhead goes back to one connection, for good.
func (b *blobReader) dropAhead() {
	b.single = true
	if b.ahead != nil {
		b.ahead.cancel()
		b.ahead.done.Wait()
		b.ahead = nil
	}
}

// errNoRanges says that a piece alone cannot be had.
func errNoRanges(s *Source) error {
	return fault.New(fault.NotImplemented, "%s sends blobs only whole", s)
}
