// Package content stores blobs by digest: image configs, manifests and
// compressed layers. A blob is a plain read-only file, blobs/<algorithm>/<hex>
// below the data root, so a person can check it with sha256sum.
//
// A blob comes into being whole or not at all: bytes go to a file under
// ingest/, are hashed as they pass, compared, synced, renamed to their name,
// and the directory is synced before Put returns. A blob whose digest is known
// before comes through a Writer: its beginning under ingest/ survives a restart
// and is continued. What else a crash leaves there is removed by Open. Callers
// bound what they accept with a limit; nothing here trusts a length somebody
// else declared.
package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/kernel/failpoint"
)

const (
	dirMode  = 0o700
	blobMode = 0o400
	// verifyBuffer is what Verify reads at a time.
	verifyBuffer = 256 << 10
	// compareUpTo bounds what Put compares byte by byte: configs and manifests.
	compareUpTo = 1 << 20
)

// Store is a directory of blobs. It is safe for concurrent use, by one process.
type Store struct {
	blobs  string
	ingest string

	mu      sync.Mutex                      // guards the maps, and deletion against holds
	held    map[digest.Digest]int           // blobs that Delete spares
	writing map[digest.Digest]chan struct{} // closed when the Writer is done
}

// Open opens or makes the store below root and removes unfinished ingests.
func Open(root string) (*Store, error) {
	s := &Store{
		blobs: filepath.Join(root, "blobs"), ingest: filepath.Join(root, "blobs", "ingest"),
		held: map[digest.Digest]int{}, writing: map[digest.Digest]chan struct{}{},
	}
	if err := s.dropUnfinished(); err != nil {
		return nil, fmt.Errorf("remove unfinished blobs: %w", err)
	}
	for _, dir := range []string{s.ingest, filepath.Join(s.blobs, digest.SHA256.String())} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("make blob store: %w", err)
		}
	}
	return s, nil
}

// Put reads r to its end, at most limit bytes, and keeps the bytes under their
// sha256 digest. When want is not empty the digest must equal it
// (fault.Invalid names both). Putting what is there already changes nothing, unless
// that is visibly damaged: then it heals.
func (s *Store) Put(ctx context.Context, r io.Reader, want digest.Digest, limit int64) (digest.Digest, int64, error) {
	f, err := os.CreateTemp(s.ingest, "blob-*")
	if err != nil {
		return "", 0, writeError(fmt.Errorf("begin a blob: %w", err))
	}
	defer func() {
		f.Close()
		os.Remove(f.Name())
	}()
	sum := digest.SHA256.Digester()
	n, err := io.Copy(io.MultiWriter(f, sum.Hash()), io.LimitReader(&contextReader{ctx, r}, limit+1))
	if err != nil {
		return "", 0, writeError(fmt.Errorf("write a blob: %w", err))
	}
	if n > limit {
		return "", 0, fault.New(fault.Invalid, "blob is larger than the limit of %d bytes", limit)
	}
	got := sum.Digest()
	if want != "" && got != want {
		return "", 0, fault.New(fault.Invalid, "blob does not have the digest it was announced with: expected %s, got %s", want, got)
	}
	if err := s.commit(f, got); err != nil {
		return "", 0, writeError(fmt.Errorf("keep blob %s: %w", got, err))
	}
	return got, n, nil
}

func (s *Store) commit(f *os.File, d digest.Digest) error {
	path := s.path(d)
	if same, err := s.same(f, path); same || err != nil {
		return err
	}
	if err := f.Chmod(blobMode); err != nil {
		return err
	}
	failpoint.Hit("blob.put.sync")
	if err := f.Sync(); err != nil {
		return err
	}
	failpoint.Hit("blob.put.rename")
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// same tells whether a blob is there and has the bytes of f; of a large one, as
// many.
func (s *Store) same(f *os.File, path string) (bool, error) {
	have, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	made, err := f.Stat()
	if err != nil || made.Size() != have.Size() || made.Size() > compareUpTo {
		return err == nil && made.Size() == have.Size(), err
	}
	fresh := make([]byte, made.Size())
	if _, err := f.ReadAt(fresh, 0); err != nil && err != io.EOF {
		return false, err
	}
	old, err := os.ReadFile(path)
	// What cannot be read is no reason to refuse what is whole.
	return err == nil && bytes.Equal(old, fresh), nil
}

// Read returns a whole blob of at most limit bytes and verifies it. A blob
// that no longer matches its name is fault.Unavailable, a missing one
// fault.NotFound.
func (s *Store) Read(d digest.Digest, limit int64) ([]byte, error) {
	f, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	if n > limit {
		return nil, fault.New(fault.Invalid, "blob %s is larger than the limit of %d bytes", d, limit)
	}
	if got := d.Algorithm().FromBytes(buf.Bytes()); got != d {
		return nil, fault.New(fault.Unavailable, "blob %s is damaged on disk: its content has digest %s (remove the image and get it again)", d, got)
	}
	return buf.Bytes(), nil
}

// Verify reads a blob and compares it with its digest: fault.Unavailable says that
// it is damaged, fault.NotFound that it is missing. It returns the blob's size.
func (s *Store) Verify(ctx context.Context, d digest.Digest) (int64, error) {
	f, err := s.Open(d)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sum := d.Algorithm().Digester()
	buf := make([]byte, verifyBuffer)
	n, err := io.CopyBuffer(struct{ io.Writer }{sum.Hash()}, &contextReader{ctx, f}, buf)
	if err != nil {
		return n, fmt.Errorf("read blob %s: %w", d, err)
	}
	if got := sum.Digest(); got != d {
		return n, fault.New(fault.Unavailable, "blob %s is damaged on disk: its content has digest %s", d, got)
	}
	return n, nil
}

// Open opens a blob for reading, without verifying it.
func (s *Store) Open(d digest.Digest) (*os.File, error) {
	if err := check(d); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "no blob %s", d)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", d, err)
	}
	return f, nil
}

// Stat returns a blob's size, or fault.NotFound.
func (s *Store) Stat(d digest.Digest) (int64, error) {
	if err := check(d); err != nil {
		return 0, err
	}
	info, err := os.Lstat(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fault.New(fault.NotFound, "no blob %s", d)
	}
	if err != nil {
		return 0, fmt.Errorf("examine blob %s: %w", d, err)
	}
	return info.Size(), nil
}

// Has tells whether a blob is there.
func (s *Store) Has(d digest.Digest) bool {
	if check(d) != nil {
		return false
	}
	_, err := os.Lstat(s.path(d))
	return err == nil
}

// Delete removes a blob; a missing one is no error, and one that is held stays:
// whoever releases it decides.
func (s *Store) Delete(d digest.Digest) error {
	if err := check(d); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[d] > 0 {
		return nil
	}
	if err := os.Remove(s.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob %s: %w", d, err)
	}
	return nil
}

// Walk calls f for every blob, in no order.
func (s *Store) Walk(f func(digest.Digest) error) error {
	entries, err := os.ReadDir(filepath.Join(s.blobs, digest.SHA256.String()))
	if err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		if d.Validate() != nil {
			continue
		}
		if err := f(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) path(d digest.Digest) string {
	return filepath.Join(s.blobs, d.Algorithm().String(), d.Encoded())
}

// check keeps a digest from naming anything but a file of ours: Validate
// allows only the hex digits of the algorithm.
func check(d digest.Digest) error {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		return fault.New(fault.Invalid, "%q is not a sha256 digest", string(d))
	}
	return nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
