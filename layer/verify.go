package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// Verify compares what a layer has on disk with the tar it was unpacked from:
// every file's content by way of the digest, and type, owner, mode and target of
// every entry. fault.Unavailable names the first difference. Of a layer without a
// recipe (Info.TarSize) only the presence is known.
func (s *Store) Verify(ctx context.Context, id digest.Digest) error {
	s.mu.Lock()
	delete(s.infos, id) // what is remembered may be better than what is there
	s.mu.Unlock()
	info, err := s.Stat(id)
	if errors.Is(err, fault.NotFound) {
		return fault.Wrap(fault.Unavailable, err)
	}
	if err != nil {
		return err
	}
	root, err := inroot.Open(filepath.Join(s.path(id), rootDir))
	if err != nil {
		return damaged(id, err)
	}
	defer root.Close()
	if info.TarSize == 0 {
		return nil
	}
	r, w := io.Pipe()
	made := make(chan error, 1)
	go func() {
		err := s.Tar(ctx, id, w)
		w.CloseWithError(err)
		made <- err
	}()
	err = compare(root, tar.NewReader(r))
	if err == nil {
		_, err = io.Copy(io.Discard, r) // the digest covers what follows the end
	}
	r.CloseWithError(errStopped)
	switch tarErr := <-made; {
	case tarErr != nil && !errors.Is(tarErr, errStopped):
		return tarErr
	case err != nil:
		return damaged(id, err)
	}
	return nil
}

var errStopped = errors.New("stopped")

func damaged(id digest.Digest, err error) error {
	return fault.New(fault.Unavailable, "layer %s is damaged on disk: %w (sampan system check --repair, or remove the image and get it again)", id, err)
}

func compare(root *inroot.Root, t *tar.Reader) error {
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := clean(h.Name)
		if err != nil {
			return err
		}
		if err := compareEntry(root, name, h); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
}

func compareEntry(root *inroot.Root, name string, h *tar.Header) error {
	base := path.Base(name)
	if strings.HasPrefix(base, metaPrefix) {
		return nil
	}
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		// What the layer itself has there counts before the whiteout.
		_, err := root.Lstat(path.Join(path.Dir(name), hidden))
		return err
	}
	st, err := root.Lstat(name)
	if err != nil {
		return err
	}
	types := map[byte]uint32{
		tar.TypeReg: unix.S_IFREG, tar.TypeCont: unix.S_IFREG, tar.TypeGNUSparse: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR,
		tar.TypeSymlink: unix.S_IFLNK, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO,
	}
	want, known := types[h.Typeflag]
	switch {
	case !known:
		return nil // a hard link: its first name is compared
	case st.Mode&unix.S_IFMT != want:
		return errors.New("it is of another type")
	case h.Typeflag == tar.TypeDir:
		return nil // a later entry may have set its attributes again
	case int(st.Uid) != h.Uid || int(st.Gid) != h.Gid:
		return fmt.Errorf("its owner is %d:%d, not %d:%d", st.Uid, st.Gid, h.Uid, h.Gid)
	case h.Typeflag == tar.TypeSymlink:
		target, err := root.Readlink(name)
		if err == nil && target != h.Linkname {
			err = errors.New("it leads elsewhere")
		}
		return err
	case int64(st.Mode&modeBits) != h.Mode&modeBits:
		return fmt.Errorf("its mode is %o, not %o", st.Mode&modeBits, h.Mode&modeBits)
	}
	return nil
}

// Replace puts a staged layer in the place of one that is damaged. Nobody may use
// the layer meanwhile.
func (s *Store) Replace(st *Staged) error {
	if err := syncFS(s.layers); err != nil {
		return pathError("sync", s.layers, err)
	}
	s.making.Lock()
	defer s.making.Unlock()
	path := s.path(st.Info.DiffID)
	s.mu.Lock()
	delete(s.infos, st.Info.DiffID)
	s.mu.Unlock()
	if err := s.trash.Take(path); err != nil {
		return err
	}
	if err := os.Rename(st.tmp, path); err != nil {
		return err
	}
	return durable.SyncDir(s.layers)
}
