package inroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotRegular reports that a path leads to something other than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens an existing regular file and refuses anything else
// (ErrNotRegular) without side effects: a FIFO does not block, a device's driver
// is not asked. A link is followed inside the root.
func (r *Root) OpenRegular(path string, flags int) (*os.File, error) {
	const op = "open"
	handle, err := r.openat2(op, path, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(handle)
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return nil, failed(op, path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, failed(op, path, fmt.Errorf("%w but %s", ErrNotRegular, kindOf(st.Mode)))
	}
	// The inode is fixed by the handle; opening it again gives access to it.
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Open(procPath(handle), flags&^(unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, failed(op, path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// ReadFile reads a regular file of at most max bytes; a larger one is an error
// (EFBIG), also one that grows while it is read.
func (r *Root) ReadFile(path string, max int64) ([]byte, error) {
	f, err := r.OpenRegular(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, failed("read", path, err)
	}
	if int64(len(data)) > max {
		return nil, failed("read", path, tooLarge{max})
	}
	return data, nil
}

type tooLarge struct{ max int64 }

func (e tooLarge) Error() string {
	return "the file is larger than " + strconv.FormatInt(e.max, 10) + " bytes"
}
func (e tooLarge) Is(target error) bool { return target == unix.EFBIG }

// WriteFile replaces the content of a regular file, or makes it with the given
// mode. It is not atomic: files of our own state need more care than this.
func (r *Root) WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := r.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, kernelMode(mode))
	if isErrno(err, unix.EEXIST) {
		f, err = r.OpenRegular(path, unix.O_WRONLY|unix.O_TRUNC)
		if isErrno(err, unix.ENOENT) { // a link whose target is missing
			if f, err = r.MkfileAll(path, mode); err == nil {
				f.Close()
				f, err = r.OpenRegular(path, unix.O_WRONLY|unix.O_TRUNC)
			}
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return failed("write", path, errors.Unwrap(err))
	}
	return nil
}

func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	}
	return "something of an unknown type"
}

// procPath names an open file through our own /proc, which no container reaches.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
