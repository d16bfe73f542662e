package tree

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// passes bounds how often a directory that others still fill is read again.
const passes = 8

// FS_IMMUTABLE_FL and FS_APPEND_FL of linux/fs.h, which x/sys lacks.
const (
	immutable  = 0x10
	appendOnly = 0x20
)

// removeAt deletes name below dirfd and everything in it. park takes
// directories deeper than maxDepth away.
func removeAt(dirfd int, name string, park func(dirfd int, name string) error, depth int) error {
	err := unix.Unlinkat(dirfd, name, 0)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EPERM):
		// Linux says EISDIR for a directory; EPERM means a file or its
		// directory is immutable or append-only.
		thaw(dirfd, name)
		if err = unix.Unlinkat(dirfd, name, 0); err == nil {
			return nil
		}
	}
	if !errors.Is(err, unix.EISDIR) {
		return &os.PathError{Op: "unlink", Path: name, Err: err}
	}
	return removeDirAt(dirfd, name, park, depth)
}

func removeDirAt(dirfd int, name string, park func(dirfd int, name string) error, depth int) error {
	if depth > maxDepth {
		return park(dirfd, name)
	}
	fd, err := openDir(dirfd, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	for range passes {
		err := each(fd, func(e entry) error {
			if e.dir {
				return removeDirAt(fd, e.name, park, depth+1)
			}
			return removeAt(fd, e.name, park, depth+1)
		})
		if err != nil {
			return err
		}
		err = unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
		if errors.Is(err, unix.EPERM) {
			thaw(dirfd, name)
			err = unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
		}
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		// A directory that shrinks while it is read may hide entries from
		// that reading on some file systems: begin again.
		if !errors.Is(err, unix.ENOTEMPTY) {
			return &os.PathError{Op: "rmdir", Path: name, Err: err}
		}
		if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
			return &os.PathError{Op: "seek", Path: name, Err: err}
		}
	}
	return &os.PathError{Op: "rmdir", Path: name, Err: unix.ENOTEMPTY}
}

// thaw clears the immutable and append-only flags, which a privileged
// container can set, of a directory and one of its entries. A failure shows in
// the removal that follows.
func thaw(dirfd int, name string) {
	clearFlags(dirfd)
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	clearFlags(fd)
}

func clearFlags(fd int) {
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return
	}
	const frozen = immutable | appendOnly
	if flags&frozen != 0 {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^frozen))
	}
}
