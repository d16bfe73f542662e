// Package mountapi makes detached mounts with the kernel's mount API of Linux
// 5.2 and later: file systems, copies of mounted trees, overlays.
//
// A detached mount is in no mount namespace. It is used through its descriptor,
// may be attached in any namespace by whoever holds it, and vanishes with its last
// descriptor: nothing is left on the host after a crash.
//
// All files returned are close-on-exec, O_PATH, and belong to the caller. Errors
// carry the errno and, where the file system gives one, its own explanation.
package mountapi

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Param is one parameter of a file system. Fd, if set, is passed as descriptor;
// an empty Value without Fd makes a flag.
type Param struct {
	Key, Value string
	Fd         *os.File
}

// maxValue is the kernel's limit for a string parameter (fsconfig(2)).
const maxValue = 255

// ErrLongValue reports a value that fsconfig cannot take.
var ErrLongValue = fmt.Errorf("a mount option is longer than %d bytes", maxValue)

// New makes a file system of the given type as a detached mount with MOUNT_ATTR_*
// flags.
func New(fstype string, attr int, params ...Param) (*os.File, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open file system type %s: %w", fstype, err)
	}
	defer unix.Close(fs)
	for _, p := range params {
		if err := set(fs, p); err != nil {
			return nil, explain(fs, fmt.Errorf("%s: option %s: %w", fstype, p.Key, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, explain(fs, fmt.Errorf("create %s: %w", fstype, err))
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return nil, explain(fs, fmt.Errorf("mount %s: %w", fstype, err))
	}
	return os.NewFile(uintptr(m), fstype), nil
}

func set(fs int, p Param) error {
	switch {
	case p.Fd != nil:
		return unix.FsconfigSetFd(fs, p.Key, int(p.Fd.Fd()))
	case p.Value == "":
		return unix.FsconfigSetFlag(fs, p.Key)
	case len(p.Value) > maxValue:
		return ErrLongValue
	}
	return unix.FsconfigSetString(fs, p.Key, p.Value)
}

// explain adds what the file system itself says about a failure: reading the
// context gives one message a time, "e " (error), "w " or "i " before the text.
func explain(fs int, err error) error {
	var buf [256]byte
	for range 8 {
		n, rerr := unix.Read(fs, buf[:])
		if rerr != nil || n <= 0 {
			break
		}
		text := strings.TrimSpace(string(buf[:n]))
		if said, ok := strings.CutPrefix(text, "e "); ok {
			return fmt.Errorf("%w (the kernel says: %s)", err, said)
		}
	}
	return err
}

// CloneTree makes a detached copy of the mount that holds path, with path as its
// root; recursive includes the mounts below.
func CloneTree(path string, recursive bool) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Attr is a change to a mount: MOUNT_ATTR_* flags to set and to clear, one of the
// MS_* propagation types or 0, and a user namespace for an idmapped mount.
type Attr struct {
	Set, Clear  uint64
	Propagation uint64
	UserNS      *os.File
}

// ErrNoSetAttr reports a kernel before 5.12.
var ErrNoSetAttr = errors.New("this kernel cannot change a detached mount; Linux 5.12 or later is needed")

// SetAttr changes a mount, or with recursive all mounts of its tree at once.
func SetAttr(mount *os.File, a Attr, recursive bool) error {
	attr := unix.MountAttr{Attr_set: a.Set, Attr_clr: a.Clear, Propagation: a.Propagation}
	if a.UserNS != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(a.UserNS.Fd())
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(int(mount.Fd()), "", flags, &attr)
	if errors.Is(err, unix.ENOSYS) {
		return ErrNoSetAttr
	}
	return err
}
