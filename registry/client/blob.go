package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-containers/sampan/fault"
)

// progressShare: a connection that brought this share of a blob, or a MiB, was
// worth its try. So a blob ends after a bounded number of connections.
const progressShare = 50

// Blob reads a blob from offset on, and goes on where a connection breaks. It
// ends after exactly the bytes that the descriptor announces, or with an error.
// The digest is the caller's to compare: bytes may have been kept from earlier.
// retrying, if not nil, is told of each failure that another try follows.
func (s *Source) Blob(ctx context.Context, d ocispec.Descriptor, offset int64, retrying func(error)) (io.ReadCloser, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	if d.Size < 0 || offset < 0 || offset > d.Size {
		return nil, fault.New(fault.Invalid, "blob %s is announced with the size %d", d.Digest, d.Size)
	}
	return &blobReader{ctx: ctx, s: s, d: d, at: offset, end: d.Size, retrying: retrying}, nil
}

type blobReader struct {
	ctx      context.Context
	s        *Source
	d        ocispec.Descriptor
	at       int64 // next byte
	end      int64 // where it ends: the blob's size, but for a piece
	body     *watched
	open     bool // the answer does not say how long it is
	began    int64
	waited   time.Duration // for bytes, since began
	fails    int
	retrying func(error)

	single bool   // one connection is enough, or all there is
	piece  bool   // not the whole blob, and nothing else will do
	ahead  *ahead // pieces from until on
	until  int64
}

func (b *blobReader) Read(p []byte) (int, error) {
	for {
		if b.slow() {
			b.fetchAhead()
		}
		var n int
		var err error
		if b.ahead != nil && b.at >= b.until && b.at < b.end {
			if n, err = b.fromAhead(p); n == 0 && err == nil {
				continue
			}
		} else {
			n, err = b.read(p)
		}
		b.at += int64(n)
		if n > 0 {
			return n, nil
		}
		if err == io.EOF && b.at == b.end {
			return 0, io.EOF
		}
		if err = b.failed(err); err != nil {
			return 0, err
		}
	}
}

func (b *blobReader) read(p []byte) (int, error) {
	if b.at == b.end && (b.body == nil || !b.open) {
		return 0, io.EOF
	}
	if b.body == nil {
		if err := b.connect(); err != nil {
			return 0, err
		}
	}
	if b.at == b.end { // must be its end
		var extra [1]byte
		if n, _ := b.body.Read(extra[:]); n > 0 {
			return 0, fault.New(fault.Invalid, "blob %s is larger than the %d bytes it was announced with", b.d.Digest, b.d.Size)
		}
		return 0, io.EOF
	}
	stop := b.end
	if b.ahead != nil {
		stop = b.until
	}
	began := time.Now()
	n, err := b.body.Read(p[:min(int64(len(p)), stop-b.at)])
	b.waited += time.Since(began)
	return n, err
}

// failed decides whether to go on after a broken read: nil means yes.
func (b *blobReader) failed(err error) error {
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	if b.body == nil { // do has tried often enough
		return err
	}
	if fault.Of(err) != nil {
		return err
	}
	what := err
	switch {
	case b.body.stalled():
		what = fmt.Errorf("%s sent nothing for %v", b.s, b.s.r.c.limits.Stall)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		what = fmt.Errorf("%s broke off after %d of %d bytes", b.s, b.at, b.end)
	}
	b.body.Close()
	b.body = nil
	if got := b.at - b.began; got >= mib || got > 0 && got >= b.d.Size/progressShare {
		b.fails = 0
	}
	b.fails++
	if b.fails >= b.s.r.c.limits.Attempts {
		return fault.New(fault.Unavailable, "blob %s: %w (after %d tries in a row)", b.d.Digest, what, b.fails)
	}
	if b.retrying != nil {
		b.retrying(what)
	}
	return b.s.r.c.sleep(b.ctx, b.fails, 0)
}

// connect asks for the rest of the blob.
func (b *blobReader) connect() error {
	q := &request{method: http.MethodGet, path: b.s.path() + "/blobs/" + b.d.Digest.String(), header: http.Header{}, scopes: pull(b.s)}
	switch {
	case b.piece:
		q.header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.at, b.end-1))
	case b.at > 0:
		q.header.Set("Range", fmt.Sprintf("bytes=%d-", b.at))
	}
	resp, err := b.s.ask(b.ctx, q)
	if err != nil {
		return err
	}
	skip := int64(0)
	switch {
	case resp.StatusCode == http.StatusPartialContent && (b.at > 0 || b.piece):
		if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", b.at)) {
			resp.Body.Close()
			return fault.New(fault.Invalid, "%s answers with the range %q when asked for the bytes from %d on", b.s, clip(got), b.at)
		}
	case resp.StatusCode == http.StatusOK && b.piece:
		resp.Body.Close()
		return errNoRanges(b.s)
	case resp.StatusCode == http.StatusOK:
		skip = b.at // it knows no ranges
	default:
		return answerError(resp)
	}
	if length := resp.ContentLength; length >= 0 && length != b.end-b.at+skip {
		resp.Body.Close()
		return fault.New(fault.Invalid, "%s answers with %d bytes for blob %s, which was announced with %d", b.s, length+b.at-skip, b.d.Digest, b.d.Size)
	}
	b.open = resp.ContentLength < 0
	b.body = watch(resp.Body, b.s.r.c.limits.Stall, func() { resp.Body.Close() })
	b.began, b.waited = b.at, 0
	_, err = io.CopyN(io.Discard, b.body, skip)
	return err
}

func (b *blobReader) Close() error {
	b.dropAhead()
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}

// HasBlob tells whether the repository has a blob of that size.
func (s *Source) HasBlob(ctx context.Context, d ocispec.Descriptor, willPush bool) (bool, error) {
	q := &request{method: http.MethodHead, path: s.path() + "/blobs/" + d.Digest.String(), scopes: pull(s)}
	if willPush {
		q.scopes = push(s)
	}
	resp, err := s.ask(ctx, q)
	if err != nil {
		return false, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		drain(resp)
		return resp.ContentLength < 0 || resp.ContentLength == d.Size, nil
	case http.StatusNotFound:
		drain(resp)
		return false, nil
	}
	return false, manifestError(d.Digest.String(), resp)
}

// SmallBlob fetches a blob of at most limit bytes, such as a config, whole and
// verified.
func (s *Source) SmallBlob(ctx context.Context, d ocispec.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fault.New(fault.Invalid, "blob %s is announced with %d bytes, more than the limit of %d", d.Digest, d.Size, limit)
	}
	r, err := s.Blob(ctx, d, 0, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(raw); got != d.Digest {
		return nil, fault.New(fault.Invalid, "blob does not have the digest it was announced with: expected %s, got %s", d.Digest, got)
	}
	return raw, nil
}
