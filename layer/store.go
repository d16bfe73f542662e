// Package layer turns layer tars into directories.
//
// A layer is the directory layers/sha256/<hex of its diffID>/fs, in the form
// overlayfs reads: whiteouts are character devices 0:0 and opaque directories
// carry trusted.overlay.opaque. It is a pure function of the layer's tar, so
// layers unpack in any order and are shared by all images that contain them.
// layer.json beside it records its size and the directories which the tar
// implied but did not list; Chain mends those per image, because such a
// directory must show the mode, owner and xattrs of the layer below.
//
// A layer appears by one rename after one syncfs, and disappears by one
// rename; what a crash leaves is removed by Open.
//
// Everything in a tar is hostile. Entries are made only below descriptors that
// kernel/inroot resolved; counts and lengths are bounded; the overlay's own
// xattrs are dropped.
package layer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/layer/tree"
)

const (
	dirMode  = 0o700
	infoFile = "layer.json"
	rootDir  = "fs"
	// maxCachedImplied keeps a hostile layer's list out of the idle daemon's memory.
	maxCachedImplied = 4 << 10
)

// Info describes a layer that is there.
type Info struct {
	DiffID digest.Digest `json:"diffID"`
	// Size is the sum of the regular files' sizes, hard links counted once.
	Size int64 `json:"size"`
	// Implied lists the directories that the tar did not list, shortest path
	// first, "." for the root itself.
	Implied []string `json:"implied,omitempty"`
	// OpaqueRoot says that the layer hides everything below it.
	OpaqueRoot bool `json:"opaqueRoot,omitempty"`
}

// Store is the directory of layers. It is safe for concurrent use, by one
// process. Whoever removes layers sees to it that nobody needs them.
type Store struct {
	layers string // one directory a layer, by hex
	mended string // one directory a chain that needs mending
	tmp    string
	trash  *tree.Bin

	mu    sync.Mutex // guards infos
	infos map[digest.Digest]*Info
	// making is held while a layer or a mending directory becomes visible or
	// goes, and guards held.
	making sync.Mutex
	held   map[digest.Digest]int
}

// Open opens or makes the store below the data root and removes leftovers.
func Open(root string, log *slog.Logger) (*Store, error) {
	base := filepath.Join(root, "layers")
	s := &Store{
		layers: filepath.Join(base, digest.SHA256.String()),
		mended: filepath.Join(base, "mended"),
		tmp:    filepath.Join(base, "tmp"),
		infos:  map[digest.Digest]*Info{},
		held:   map[digest.Digest]int{},
	}
	for _, dir := range []string{s.layers, s.mended} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("make layer store: %w", err)
		}
	}
	trash, err := tree.OpenBin(filepath.Join(root, "trash", "layers"), log)
	if err != nil {
		return nil, fmt.Errorf("open layer store: %w", err)
	}
	s.trash = trash
	if err := trash.Take(s.tmp); err != nil {
		return nil, errors.Join(fmt.Errorf("remove unfinished layers: %w", err), trash.Close())
	}
	if err := os.Mkdir(s.tmp, dirMode); err != nil {
		return nil, errors.Join(fmt.Errorf("make layer store: %w", err), trash.Close())
	}
	return s, nil
}

// Close waits until the background removal has stopped at a safe point.
func (s *Store) Close() error { return s.trash.Close() }

// Wait returns when the files of all removed layers are gone.
func (s *Store) Wait() { s.trash.Wait() }

// Unpack reads one layer tar, plain or compressed (gzip, zstd, xz, bzip2, told
// apart by their first bytes), and makes its layer, unless it is there. When
// want is not empty the diffID must equal it. After a failure nothing of the
// layer is left; fault.Invalid says what is wrong with the tar, and
// fault.Exhausted that the disk is full.
//
// The layer returned is held: Remove spares it until Release, so that an image
// can be recorded that names it.
func (s *Store) Unpack(ctx context.Context, r io.Reader, want digest.Digest) (*Info, error) {
	tmp, err := os.MkdirTemp(s.tmp, "unpack-")
	if err != nil {
		return nil, pathError("make directory", s.tmp, err)
	}
	defer s.trash.Take(tmp)
	z := newStream(ctx, r)
	defer z.close()
	info, err := extract(ctx, z, tmp)
	if err != nil {
		return nil, fmt.Errorf("unpack layer: %w", err)
	}
	info.DiffID = z.digest()
	if want != "" && info.DiffID != want {
		return nil, fault.New(fault.Invalid, "layer does not have the diffID its image names: expected %s, got %s", want, info.DiffID)
	}
	if err := s.commit(tmp, info); err != nil {
		return nil, fmt.Errorf("keep layer %s: %w", info.DiffID, err)
	}
	return info, nil
}

// commit makes the layer in tmp durable and then visible, and holds it.
func (s *Store) commit(tmp string, info *Info) error {
	if s.hold(info.DiffID) {
		return nil
	}
	if err := s.trash.Take(filepath.Join(tmp, "gone")); err != nil {
		return err
	}
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, infoFile), data, 0o600); err != nil {
		return pathError("write", infoFile, err)
	}
	path := s.path(info.DiffID)
	if err := syncFS(s.layers); err != nil {
		return pathError("sync", path, err)
	}
	s.making.Lock()
	err = os.Rename(tmp, path)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		err = nil // another Unpack of the same tar was faster
	}
	if err == nil {
		s.held[info.DiffID]++
	}
	s.making.Unlock()
	if err != nil {
		return err
	}
	if err := syncDir(s.layers); err != nil {
		s.Release(info.DiffID)
		return err
	}
	return nil
}

// hold keeps a layer from removal and tells whether it is there.
func (s *Store) hold(id digest.Digest) bool {
	s.making.Lock()
	defer s.making.Unlock()
	if _, err := os.Lstat(s.path(id)); err != nil {
		return false
	}
	s.held[id]++
	return true
}

// Release ends the hold of one Unpack.
func (s *Store) Release(id digest.Digest) {
	s.making.Lock()
	defer s.making.Unlock()
	if s.held[id]--; s.held[id] <= 0 {
		delete(s.held, id)
	}
}

// Stat returns a layer, or fault.NotFound.
func (s *Store) Stat(id digest.Digest) (*Info, error) {
	if err := id.Validate(); err != nil || id.Algorithm() != digest.SHA256 {
		return nil, fault.New(fault.Invalid, "%q is not a diffID", string(id))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if info := s.infos[id]; info != nil {
		return info, nil
	}
	data, err := os.ReadFile(filepath.Join(s.path(id), infoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "layer %s is missing", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read layer %s: %w", id, err)
	}
	info := new(Info)
	if err := json.Unmarshal(data, info); err != nil {
		return nil, fmt.Errorf("read layer %s: %w", id, err)
	}
	if len(info.Implied) <= maxCachedImplied {
		s.infos[id] = info
	}
	return info, nil
}

// Walk calls f for every layer that is there, in no order.
func (s *Store) Walk(f func(digest.Digest) error) error {
	entries, err := os.ReadDir(s.layers)
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	for _, e := range entries {
		id := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		if id.Validate() != nil {
			continue
		}
		if err := f(id); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes a layer away at once and its files in the background. A missing
// layer is no error, and one that is held stays: whoever releases it decides.
func (s *Store) Remove(id digest.Digest) error {
	if err := id.Validate(); err != nil {
		return fault.New(fault.Invalid, "%q is not a diffID", string(id))
	}
	s.making.Lock()
	defer s.making.Unlock()
	if s.held[id] > 0 {
		return nil
	}
	s.mu.Lock()
	delete(s.infos, id)
	s.mu.Unlock()
	return s.trash.Take(s.path(id))
}

func (s *Store) path(id digest.Digest) string { return filepath.Join(s.layers, id.Encoded()) }

// syncFS writes out everything of the file system that holds dir: one call for
// a layer instead of one for each of its files.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
