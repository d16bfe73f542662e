package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// ioctls and flags of linux/btrfs.h, which x/sys lacks.
const (
	subvolumeCreate = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	subvolumeDelete = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	snapshotCreate  = 0x50009417 // BTRFS_IOC_SNAP_CREATE_V2
)

const basesDir = "btrfs"

// volume is struct btrfs_ioctl_vol_args.
type volume struct {
	fd   int64
	name [4088]byte
}

// volumeV2 is struct btrfs_ioctl_vol_args_v2.
type volumeV2 struct {
	fd      int64
	transid uint64
	flags   uint64
	unused  [4]uint64
	name    [4040]byte
}

// Btrfs is the btrfs driver. Each image is copied once into a subvolume,
// btrfs/<hash of its layers' directories>; a container's root is a snapshot of it.
// A subvolume goes when one of the layers it was copied from has gone.
type Btrfs struct {
	Plain
	bases string
	mu    sync.Mutex // one copy at a time
}

func openBtrfs(root string, o *Overlay, copy Copy) (*Btrfs, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return nil, fmt.Errorf("storage driver btrfs: %s: %w", root, err)
	}
	if st.Type != unix.BTRFS_SUPER_MAGIC {
		return nil, fault.New(fault.Invalid, "storage driver btrfs: the data root %s is not on a btrfs (leave the option out for overlay2, or put the data root on one)", root)
	}
	b := &Btrfs{Plain: Plain{Overlay: o, name: "btrfs", copy: copy}, bases: filepath.Join(root, basesDir)}
	if err := os.MkdirAll(b.bases, dirMode); err != nil {
		return nil, fmt.Errorf("storage driver btrfs: %w", err)
	}
	return b, b.Collect()
}

// Prepare takes a snapshot of the image's subvolume as containers/<id>/fs.
func (b *Btrfs) Prepare(ctx context.Context, id string, lowers []string) (Mount, error) {
	return b.prepare(ctx, id, lowers, func(dir string) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		base, err := b.base(ctx, lowers)
		if err != nil {
			return err
		}
		return snapshotOf(base, dir)
	})
}

// base returns the subvolume of an image, made if it is not there.
func (b *Btrfs) base(ctx context.Context, lowers []string) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(lowers, "\x00")))
	base := filepath.Join(b.bases, hex.EncodeToString(sum[:]))
	if exists(base) {
		return base, nil
	}
	unready := filepath.Join(b.bases, "new")
	if err := deleteSubvolume(unready); err != nil {
		return "", err
	}
	if err := createSubvolume(unready); err != nil {
		return "", err
	}
	if err := flatten(ctx, lowers, unready, b.copy); err != nil {
		return "", errors.Join(err, deleteSubvolume(unready))
	}
	raw, err := json.Marshal(lowers)
	if err == nil {
		err = os.WriteFile(base+".json", raw, 0o600)
	}
	if err != nil {
		return "", err
	}
	return base, os.Rename(unready, base)
}

// Remove deletes the container's snapshot and the directory around it.
func (b *Btrfs) Remove(ctx context.Context, id string) error {
	dir, err := b.dir(id)
	if err != nil {
		return err
	}
	// What cannot be deleted so goes as files do.
	_ = deleteSubvolume(filepath.Join(dir, plainDir))
	if err := b.Overlay.Remove(ctx, id); err != nil {
		return err
	}
	return b.Collect()
}

// Collect deletes the subvolumes of images that have gone, and unfinished ones.
func (b *Btrfs) Collect() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	entries, err := os.ReadDir(b.bases)
	if err != nil {
		return fmt.Errorf("list the subvolumes of images: %w", err)
	}
	for _, e := range entries {
		name, isList := strings.CutSuffix(e.Name(), ".json")
		base := filepath.Join(b.bases, name)
		if isList == e.IsDir() || b.needed(base) {
			continue
		}
		if err := deleteSubvolume(base); err != nil {
			return err
		}
		if err := os.Remove(base + ".json"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (b *Btrfs) needed(base string) bool {
	raw, err := os.ReadFile(base + ".json")
	if err != nil {
		return false
	}
	var lowers []string
	if json.Unmarshal(raw, &lowers) != nil {
		return false
	}
	for _, l := range lowers {
		if !exists(l) {
			return false
		}
	}
	return exists(base)
}

func createSubvolume(path string) error {
	args := new(volume)
	return subvolume("make", path, subvolumeCreate, unsafe.Pointer(args), args.name[:])
}

func snapshotOf(base, path string) error {
	f, err := os.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	args := &volumeV2{fd: int64(f.Fd())}
	return subvolume("snapshot "+base+" as", path, snapshotCreate, unsafe.Pointer(args), args.name[:])
}

// deleteSubvolume deletes one; a missing one is no error.
func deleteSubvolume(path string) error {
	if !exists(path) {
		return nil
	}
	args := new(volume)
	return subvolume("delete", path, subvolumeDelete, unsafe.Pointer(args), args.name[:])
}

// subvolume makes an ioctl on the directory above path; name is the field of args
// that takes the last component.
func subvolume(op, path string, request uintptr, args unsafe.Pointer, name []byte) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	base := filepath.Base(path)
	if len(base) >= len(name) {
		return &os.PathError{Op: op, Path: path, Err: unix.ENAMETOOLONG}
	}
	copy(name, base)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), request, uintptr(args))
	runtime.KeepAlive(name)
	if errno != 0 {
		return fmt.Errorf("%s the subvolume %s: %w", op, path, errno)
	}
	return nil
}
