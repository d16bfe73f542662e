package volume

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/archive"
	"github.com/sampan-containers/sampan/kernel/durable"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/treecopy"
)

// Clone makes volume v with the content of another one, sharing blocks where the
// file system can (reflink). Containers may use the source meanwhile: each file
// is as it is when its turn comes. The source is fault.NotFound, a taken name
// fault.Conflict.
func (l *Local) Clone(ctx context.Context, from string, v Volume) error {
	return l.reading(ctx, from, func(src *inroot.Root) error {
		return l.derive(v, func(dir string) error {
			dst, err := inroot.Open(dir)
			if err != nil {
				return err
			}
			defer dst.Close()
			return treecopy.Copy(ctx, src, dst)
		})
	})
}

// Export writes a volume's content as a tar stream, with begin called before its
// first byte.
func (l *Local) Export(ctx context.Context, name string, begin func() io.Writer) error {
	return l.reading(ctx, name, func(src *inroot.Root) error {
		w := tar.NewWriter(begin())
		if err := archive.Pack(ctx, w, src, ".", "./", archive.PackOptions{}); err != nil {
			return fmt.Errorf("export volume %s: %w", name, err)
		}
		return w.Close()
	})
}

// Import makes volume v of a plain tar stream. A broken stream is fault.Invalid.
func (l *Local) Import(ctx context.Context, v Volume, r io.Reader) error {
	return l.derive(v, func(dir string) error {
		root, err := inroot.Open(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		err = archive.Unpack(ctx, r, root, ".", archive.UnpackOptions{})
		if errors.Is(err, archive.ErrInvalid) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fault.Wrap(fault.Invalid, err)
		}
		return err
	})
}

// reading opens a volume's content and keeps the volume meanwhile.
func (l *Local) reading(ctx context.Context, name string, f func(*inroot.Root) error) (err error) {
	user := "reader-" + nonce()
	l.Hold(name, user)
	defer l.LetGo(name, user)
	if _, err := l.Get(name); err != nil {
		return err
	}
	if err := l.Mount(ctx, name, user); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Unmount(name, user)) }()
	root, err := inroot.Open(l.Path(name))
	if err != nil {
		return fmt.Errorf("open volume %s: %w", name, err)
	}
	defer root.Close()
	return f(root)
}

func nonce() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

// derive makes a new volume whose content takes long: others are made and
// removed meanwhile. It appears by a rename once it is whole.
func (l *Local) derive(v Volume, fill func(dir string) error) (err error) {
	if err := v.check(); err != nil {
		return err
	}
	if len(v.Options) > 0 {
		return fault.New(fault.Invalid, "create %s: a copy has no driver options: its files are its own", v.Name)
	}
	taken := func() error {
		if _, err := l.Get(v.Name); err == nil {
			return fault.New(fault.Conflict, "create %s: a volume of this name exists; remove it first, or choose another name", v.Name)
		}
		return nil
	}
	if err := taken(); err != nil {
		return err
	}
	v.Created = time.Now()
	stage := filepath.Join(l.root, stagePrefix+nonce())
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create volume %s: %w", v.Name, err), removeTree(stage))
		}
	}()
	if err := os.MkdirAll(filepath.Join(stage, "_data"), 0o755); err != nil {
		return err
	}
	if err := fill(filepath.Join(stage, "_data")); err != nil {
		return err
	}
	raw, err := json.Marshal(&v)
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(stage, infoFile), raw); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := taken(); err != nil {
		return err
	}
	if err := os.Rename(stage, filepath.Join(l.root, v.Name)); err != nil {
		return err
	}
	l.index.Lock()
	l.volumes[v.Name] = &v
	l.index.Unlock()
	return durable.SyncDir(l.root)
}

// Rename gives a volume that nobody uses another name, by one rename. A volume
// in use, and a taken name, are fault.Conflict.
func (l *Local) Rename(from, to string, inUse func(name string) bool) error {
	if err := CheckName(to); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old, err := l.Get(from)
	if err != nil {
		return err
	}
	if _, err := l.Get(to); err == nil {
		return fault.New(fault.Conflict, "rename volume %s: a volume named %s exists", from, to)
	}
	if inUse(from) || l.held(from) || l.held(to) || l.mounts.used(from) {
		return fault.New(fault.Conflict, "rename volume %s: containers refer to it by its name; remove them first", from)
	}
	// A mount that a killed daemon left would stay at the old place.
	if err := unmountAll(l.Path(from)); err != nil {
		return fmt.Errorf("rename volume %s: %w", from, err)
	}
	if err := os.Rename(filepath.Join(l.root, from), filepath.Join(l.root, to)); err != nil {
		return fmt.Errorf("rename volume %s: %w", from, err)
	}
	v := *old
	v.Name, v.Anonymous = to, false
	l.index.Lock()
	delete(l.volumes, from)
	l.volumes[to] = &v
	l.index.Unlock()
	return durable.SyncDir(l.root)
}
