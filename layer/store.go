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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/kernel/failpoint"
	"github.com/sampan-containers/sampan/layer/reuse"
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
	// Disk is what the layer takes on the disk: whole blocks of files and
	// directories, and what lies beside them.
	Disk int64 `json:"disk,omitempty"`
	// Implied lists the directories that the tar did not list, shortest path
	// first, "." for the root itself.
	Implied []string `json:"implied,omitempty"`
	// TarSize is the size of the tar that Tar can write again; 0 if it cannot.
	TarSize int64 `json:"tarSize,omitempty"`
	// OpaqueRoot says that the layer hides everything below it.
	OpaqueRoot bool `json:"opaqueRoot,omitempty"`

	recipe bool // see TarSize
}

// Store is the directory of layers. It is safe for concurrent use, by one
// process. Whoever removes layers sees to it that nobody needs them.
type Store struct {
	layers string // one directory a layer, by hex
	mended string // one directory a chain that needs mending
	tmp    string
	trash  *tree.Bin
	flusher
	workspaces reuse.Pool[workspace]
	umask      uint32 // of the process

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
	s.flusher.dir, s.umask = s.layers, umask()
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
	st, err := s.Stage(ctx, r, want)
	if err != nil {
		return nil, err
	}
	defer st.Discard()
	if err := s.Publish(st); err != nil {
		return nil, err
	}
	return st.Info, nil
}

// Staged is a layer that is unpacked and verified, but neither durable nor
// visible. Several of them become so with one Publish.
type Staged struct {
	Info *Info

	s   *Store
	tmp string
}

// Discard removes what Publish has not made visible. It may follow Publish.
func (st *Staged) Discard() { _ = st.s.trash.Take(st.tmp) }

// Stage is the first half of Unpack. Discard must follow.
func (s *Store) Stage(ctx context.Context, r io.Reader, want digest.Digest) (_ *Staged, retErr error) {
	tmp, err := os.MkdirTemp(s.tmp, "unpack-")
	if err != nil {
		return nil, pathError("make directory", s.tmp, err)
	}
	st := &Staged{s: s, tmp: tmp}
	defer func() {
		if retErr != nil {
			st.Discard()
		}
	}()
	w := s.workspaces.Get()
	defer func() {
		if retErr != nil {
			w = nil // the stream may be in it still
		} else {
			w.gzip.Reset(nil)
		}
		s.workspaces.Put(w)
	}()
	z := newStream(ctx, r, digest.SHA256.Hash(), w)
	defer z.close()
	failpoint.Hit("layer.stage.extract")
	if st.Info, err = extract(ctx, z, tmp, w, s.umask, s.flusher.wrote); err != nil {
		return nil, fmt.Errorf("unpack layer: %w", err)
	}
	st.Info.DiffID = z.digest()
	if st.Info.recipe {
		st.Info.TarSize = z.out
	}
	if want != "" && st.Info.DiffID != want {
		return nil, fault.New(fault.Invalid, "layer does not have the diffID its image names: expected %s, got %s", want, st.Info.DiffID)
	}
	if err := st.seal(); err != nil {
		return nil, fmt.Errorf("keep layer %s: %w", st.Info.DiffID, err)
	}
	return st, nil
}

// Publish makes staged layers durable with one syncfs, with all else on the file
// system of the store, and then visible. All of them are held, as by Unpack, unless
// it fails.
func (s *Store) Publish(staged ...*Staged) (retErr error) {
	var held []digest.Digest
	defer func() {
		if retErr != nil {
			for _, id := range held {
				s.Release(id)
			}
		}
	}()
	var fresh []*Staged
	for _, st := range staged {
		if s.Hold(st.Info.DiffID) {
			held = append(held, st.Info.DiffID)
			continue
		}
		fresh = append(fresh, st)
	}
	if len(staged) == 0 {
		return nil
	}
	failpoint.Hit("layer.publish.sync")
	s.flusher.unsynced.Store(0) // what was written goes now
	if err := syncFS(s.layers); err != nil {
		return pathError("sync", s.layers, err)
	}
	for _, st := range fresh {
		failpoint.Hit("layer.publish.rename")
		if err := s.show(st); err != nil {
			return fmt.Errorf("keep layer %s: %w", st.Info.DiffID, err)
		}
		held = append(held, st.Info.DiffID)
	}
	failpoint.Hit("layer.publish.renamed")
	return pathError("sync", s.layers, durable.SyncDir(s.layers))
}

// seal completes the directory of a staged layer.
func (st *Staged) seal() error {
	if err := st.s.trash.Take(filepath.Join(st.tmp, "gone")); err != nil {
		return err
	}
	data, err := json.Marshal(st.Info)
	if err != nil {
		return err
	}
	return pathError("write", infoFile, os.WriteFile(filepath.Join(st.tmp, infoFile), data, 0o600))
}

// show renames a sealed layer to its place and holds it.
func (s *Store) show(st *Staged) error {
	s.making.Lock()
	defer s.making.Unlock()
	err := os.Rename(st.tmp, s.path(st.Info.DiffID))
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err // the others mean that another Unpack of the same tar was faster
	}
	s.held[st.Info.DiffID]++
	return nil
}

// Hold keeps a layer from removal and tells whether it is there. Each Hold needs
// its Release.
func (s *Store) Hold(id digest.Digest) bool {
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

// Stat returns a layer, or fault.NotFound; fault.Unavailable says that it is damaged.
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
		return nil, damaged(id, fmt.Errorf("%s is not valid: %w", infoFile, err))
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

// Device is the file system that holds the store, as stat(2) has it.
func (s *Store) Device() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(s.tmp, &st); err != nil {
		return 0, fmt.Errorf("examine %s: %w", s.tmp, err)
	}
	return st.Dev, nil
}

func (s *Store) path(id digest.Digest) string { return filepath.Join(s.layers, id.Encoded()) }

// umask is the process's, or all bits where it cannot be read without changing it.
func umask() uint32 {
	const all = 0o777
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return all
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, "Umask:"); ok {
			if v, err := strconv.ParseUint(strings.TrimSpace(text), 8, 32); err == nil {
				return uint32(v)
			}
		}
	}
	return all
}

// flushStep is after how many unpacked bytes writing out begins.
const flushStep = 64 * mib

// flusher has the kernel write out while layers are being unpacked, so that the
// sync before they become visible has little left to wait for.
type flusher struct {
	dir      string
	unsynced atomic.Int64
	flushing atomic.Bool
}

func (f *flusher) wrote(n int64) {
	if f.unsynced.Add(n) < flushStep || !f.flushing.CompareAndSwap(false, true) {
		return
	}
	f.unsynced.Store(0)
	go func() {
		defer f.flushing.Store(false)
		// Publish syncs again, and tells of failures.
		_ = syncFS(f.dir)
	}()
}

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
