package content

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/kernel/failpoint"
)

// partialAge is how long the beginning of a blob waits for its continuation.
const partialAge = 24 * time.Hour

// Writer takes one blob whose digest and size are known before. What an earlier
// writer of the blob left is kept, also across a restart: Partial gives those
// bytes back, and Write appends. A Writer is for one goroutine.
//
// Finish verifies; Publish makes finished blobs durable and visible; Close ends
// the Writer in any case and keeps an unfinished beginning.
type Writer struct {
	s      *Store
	f      *os.File
	want   digest.Digest
	size   int64
	kept   int64 // bytes found at Begin
	read   int64 // of these, read through Partial
	n      int64
	sum    hash.Hash
	closed bool
}

// Begin starts or continues a blob. It waits while another Writer has the same
// blob, so the caller looks again with Has when the other may have finished.
func (s *Store) Begin(ctx context.Context, want digest.Digest, size int64) (*Writer, error) {
	if err := check(want); err != nil {
		return nil, err
	}
	if err := s.lock(ctx, want); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.partial(want), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		s.unlock(want)
		return nil, writeError(fmt.Errorf("begin blob %s: %w", want, err))
	}
	w := &Writer{s: s, f: f, want: want, size: size, sum: want.Algorithm().Hash()}
	if w.kept, err = f.Seek(0, io.SeekEnd); err == nil && w.kept > size {
		err = w.Reset()
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("begin blob %s: %w", want, err)
	}
	w.n = w.kept
	return w, nil
}

// Digest is the digest of the blob.
func (w *Writer) Digest() digest.Digest { return w.want }

// Offset is the number of bytes that the Writer has.
func (w *Writer) Offset() int64 { return w.n }

// Partial reads what an earlier writer left. It must be read to its end before
// Finish: the bytes are hashed on their way.
func (w *Writer) Partial() io.Reader { return partialReader{w} }

type partialReader struct{ w *Writer }

func (p partialReader) Read(b []byte) (int, error) {
	w := p.w
	if w.read == w.kept {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), w.kept-w.read)]
	n, err := w.f.ReadAt(b, w.read)
	w.sum.Write(b[:n])
	w.read += int64(n)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // somebody cut the file short
	}
	return 0, err
}

// Write appends. More bytes than announced are fault.Invalid.
func (w *Writer) Write(p []byte) (int, error) {
	if w.n+int64(len(p)) > w.size {
		return 0, fault.New(fault.Invalid, "blob %s is larger than the %d bytes it was announced with", w.want, w.size)
	}
	if w.read != w.kept {
		if _, err := io.Copy(io.Discard, w.Partial()); err != nil {
			return 0, err
		}
	}
	n, err := w.f.WriteAt(p, w.n)
	w.sum.Write(p[:n])
	w.n += int64(n)
	if err != nil {
		return n, writeError(fmt.Errorf("write blob %s: %w", w.want, err))
	}
	return n, nil
}

// Reset forgets all bytes: what came was not the blob.
func (w *Writer) Reset() error {
	w.kept, w.read, w.n = 0, 0, 0
	w.sum.Reset()
	return w.f.Truncate(0)
}

// Finish compares size and digest. After a mismatch, which is fault.Invalid and
// names both digests, the Writer is as after Reset.
func (w *Writer) Finish() error {
	if w.read != w.kept {
		if _, err := io.Copy(io.Discard, w.Partial()); err != nil {
			return err
		}
	}
	if w.n != w.size {
		return fault.New(fault.Invalid, "blob %s has %d bytes and was announced with %d", w.want, w.n, w.size)
	}
	if got := digest.NewDigest(w.want.Algorithm(), w.sum); got != w.want {
		return errors.Join(
			fault.New(fault.Invalid, "blob does not have the digest it was announced with: expected %s, got %s", w.want, got),
			w.Reset())
	}
	return nil
}

// Close ends the Writer. An unfinished beginning waits for the next one.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.f.Close()
	if w.n == 0 {
		err = errors.Join(err, ignoreMissing(os.Remove(w.s.partial(w.want))))
	}
	w.s.unlock(w.want)
	return err
}

// Abandon removes the bytes and ends the Writer.
func (w *Writer) Abandon() error {
	if w.closed {
		return nil
	}
	return errors.Join(w.Reset(), w.Close())
}

// Publish makes finished blobs durable with one syncfs, then visible, and closes
// their Writers. The blobs are held: Delete spares them until Release.
func (s *Store) Publish(writers ...*Writer) error {
	if len(writers) == 0 {
		return nil
	}
	return s.PublishAfter(s.sync, writers...)
}

// PublishAfter is Publish with somebody else's sync of the store's file system,
// which makes other data durable in the same go. It is called in any case, and
// nothing is visible if it fails.
func (s *Store) PublishAfter(sync func() error, writers ...*Writer) error {
	for _, w := range writers {
		if err := w.f.Chmod(blobMode); err != nil {
			return fmt.Errorf("keep blob %s: %w", w.want, err)
		}
	}
	failpoint.Hit("blob.publish.sync")
	if err := sync(); err != nil || len(writers) == 0 {
		return err
	}
	for _, w := range writers {
		failpoint.Hit("blob.publish.rename")
		s.mu.Lock()
		err := os.Rename(s.partial(w.want), s.path(w.want))
		if err == nil {
			s.held[w.want]++
		}
		s.mu.Unlock()
		if err != nil {
			return writeError(fmt.Errorf("keep blob %s: %w", w.want, err))
		}
		w.closed = true
		w.f.Close()
		s.unlock(w.want)
	}
	failpoint.Hit("blob.publish.renamed")
	return durable.SyncDir(filepath.Join(s.blobs, digest.SHA256.String()))
}

// sync writes out the file system of the store.
func (s *Store) sync() error {
	d, err := os.Open(s.ingest)
	if err != nil {
		return fmt.Errorf("write blobs to disk: %w", err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return writeError(fmt.Errorf("write blobs to disk: %w", err))
	}
	return nil
}

// Device is the file system that holds the store, as stat(2) has it.
func (s *Store) Device() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(s.ingest, &st); err != nil {
		return 0, fmt.Errorf("examine %s: %w", s.ingest, err)
	}
	return st.Dev, nil
}

// Hold keeps a blob from Delete and tells whether it is there. Each Hold needs
// its Release.
func (s *Store) Hold(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Has(d) {
		return false
	}
	s.held[d]++
	return true
}

// Release ends one hold.
func (s *Store) Release(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[d]--; s.held[d] <= 0 {
		delete(s.held, d)
	}
}

func (s *Store) partial(d digest.Digest) string { return filepath.Join(s.ingest, d.Encoded()) }

// lock waits for the only Writer of a digest.
func (s *Store) lock(ctx context.Context, d digest.Digest) error {
	for {
		s.mu.Lock()
		busy := s.writing[d]
		if busy == nil {
			s.writing[d] = make(chan struct{})
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Store) unlock(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.writing[d])
	delete(s.writing, d)
}

// dropUnfinished removes what cannot be continued: nameless ingests, and
// beginnings that nobody came back for.
func (s *Store) dropUnfinished() error {
	entries, err := os.ReadDir(s.ingest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if digest.NewDigestFromEncoded(digest.SHA256, e.Name()).Validate() == nil {
			if st, err := e.Info(); err == nil && time.Since(st.ModTime()) < partialAge {
				continue
			}
		}
		if err := os.RemoveAll(filepath.Join(s.ingest, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// writeError gives a full disk its class.
func writeError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fault.Wrap(fault.Exhausted, err)
	}
	return err
}

// DropUnfinished removes the beginnings of blobs that nobody is writing.
func (s *Store) DropUnfinished() error {
	entries, err := os.ReadDir(s.ingest)
	if err != nil {
		return fmt.Errorf("list unfinished blobs: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		if d.Validate() != nil || s.writing[d] != nil {
			continue // a nameless one is being written
		}
		if err := ignoreMissing(os.Remove(s.partial(d))); err != nil {
			return fmt.Errorf("remove an unfinished blob: %w", err)
		}
	}
	return nil
}

// Unfinished is the size of all blobs that are not whole yet.
func (s *Store) Unfinished() (sum int64, err error) {
	entries, err := os.ReadDir(s.ingest)
	if err != nil {
		return 0, fmt.Errorf("list unfinished blobs: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
