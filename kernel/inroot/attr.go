package inroot

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxXattr is the kernel's limit for a value and for a list (XATTR_SIZE_MAX).
const maxXattr = 64 << 10

// Lstat describes path without following a link at its end.
func (r *Root) Lstat(path string) (*unix.Stat_t, error) {
	return r.stat(path, unix.O_PATH|unix.O_NOFOLLOW)
}

// Stat describes path; a link at its end is followed inside the root.
func (r *Root) Stat(path string) (*unix.Stat_t, error) { return r.stat(path, unix.O_PATH) }

func (r *Root) stat(path string, flags int) (*unix.Stat_t, error) {
	fd, err := r.openat2("stat", path, flags, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	st := new(unix.Stat_t)
	if err := unix.Fstat(fd, st); err != nil {
		return nil, failed("stat", path, err)
	}
	return st, nil
}

// Readlink returns the text of the link at path.
func (r *Root) Readlink(path string) (string, error) {
	var target string
	err := r.on("readlink", path, func(fd int) (err error) {
		target, err = readlinkat(fd, "")
		return err
	})
	return target, err
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		// With an empty name the kernel says ENOENT for "not a link".
		if err == unix.ENOENT && name == "" {
			err = unix.EINVAL
		}
		return "", err
	}
	return string(buf[:n]), nil
}

// Lchown sets the owner; -1 leaves an id alone.
func (r *Root) Lchown(path string, uid, gid int) error {
	return r.on("chown", path, func(fd int) error {
		return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	})
}

// Chmod sets the permission bits incl. set-id and sticky (07777), whatever the
// umask; a link at path is refused (ELOOP), since its mode has no meaning.
func (r *Root) Chmod(path string, mode uint32) error {
	return r.on("chmod", path, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return unix.ELOOP
		}
		// fchmod refuses O_PATH descriptors, and fchmodat2 is Linux 6.6. What
		// the handle names is fixed, so our own /proc leads to the same inode.
		return unix.Chmod(procPath(fd), mode&0o7777)
	})
}

// Utimes sets the access and modification times; the zero time leaves one alone.
func (r *Root) Utimes(path string, atime, mtime time.Time) error {
	ts := []unix.Timespec{timespec(atime), timespec(mtime)}
	return r.on("set times of", path, func(fd int) error {
		return unix.UtimesNanoAt(fd, "", ts, unix.AT_EMPTY_PATH)
	})
}

// SetXattr sets an extended attribute of path itself, never of a link's target.
func (r *Root) SetXattr(path, name string, value []byte) error {
	return r.on("set attribute "+printable(name)+" of", path, func(fd int) error {
		return unix.Setxattr(procPath(fd), name, value, 0)
	})
}

// GetXattr returns an extended attribute's value; ENODATA when there is none.
func (r *Root) GetXattr(path, name string) ([]byte, error) {
	var value []byte
	err := r.on("get attribute "+printable(name)+" of", path, func(fd int) (err error) {
		value, err = sized(func(buf []byte) (int, error) { return unix.Getxattr(procPath(fd), name, buf) })
		return err
	})
	return value, err
}

// ListXattrs returns the names of the extended attributes.
func (r *Root) ListXattrs(path string) ([]string, error) {
	var names []string
	err := r.on("list attributes of", path, func(fd int) error {
		list, err := sized(func(buf []byte) (int, error) { return unix.Listxattr(procPath(fd), buf) })
		for name := range strings.SplitSeq(string(list), "\x00") {
			if name != "" {
				names = append(names, name)
			}
		}
		return err
	})
	return names, err
}

// sized reads a value of unknown size: a small buffer first, the largest next.
func sized(get func([]byte) (int, error)) ([]byte, error) {
	for _, size := range []int{256, maxXattr} {
		buf := make([]byte, size)
		n, err := get(buf)
		if err == nil {
			return buf[:n], nil
		}
		if err != unix.ERANGE {
			return nil, err
		}
	}
	return nil, unix.E2BIG
}

// on runs a call on the inode at path; a link there is not followed.
func (r *Root) on(op, path string, call func(fd int) error) error {
	fd, err := r.handle(op, path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := retry(func() error { return call(fd) }); err != nil {
		return failed(op, path, err)
	}
	return nil
}
