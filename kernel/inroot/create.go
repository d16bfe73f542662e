package inroot

import (
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Mkdir makes one directory.
func (r *Root) Mkdir(path string, mode fs.FileMode) error {
	return r.named("mkdir", path, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, kernelMode(mode))
	})
}

// Symlink makes a link at path with the given text, which is stored as it is.
func (r *Root) Symlink(target, path string) error {
	return r.named("symlink", path, func(dir int, base string) error {
		return unix.Symlinkat(target, dir, base)
	})
}

// Mknod makes a device, FIFO or socket node; mode and dev as for mknod(2).
func (r *Root) Mknod(path string, mode uint32, dev uint64) error {
	return r.named("mknod", path, func(dir int, base string) error {
		return unix.Mknodat(dir, base, mode, int(dev))
	})
}

// Link makes path a further name of the file at old; a link at old itself is
// linked, not followed.
func (r *Root) Link(old, path string) error {
	return r.twice("link", old, path, func(from int, was string, to int, is string) error {
		return unix.Linkat(from, was, to, is, 0)
	})
}

// Rename moves old to path, replacing what is there as rename(2) does.
func (r *Root) Rename(old, path string) error {
	return r.twice("rename", old, path, func(from int, was string, to int, is string) error {
		return unix.Renameat(from, was, to, is)
	})
}

// named runs a call that makes or removes the name at path.
func (r *Root) named(op, path string, call func(dir int, base string) error) error {
	dir, base, err := r.parent(op, path)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := retry(func() error { return call(dir, base) }); err != nil {
		return failed(op, path, err)
	}
	return nil
}

// twice is named for calls with two paths; the error names both.
func (r *Root) twice(op, old, path string, call func(from int, was string, to int, is string) error) error {
	from, was, err := r.parent(op, old)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	to, is, err := r.parent(op, path)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if err := retry(func() error { return call(from, was, to, is) }); err != nil {
		return &os.LinkError{Op: op, Old: printable(old), New: printable(path), Err: err}
	}
	return nil
}

// MkdirAll makes path and the missing directories above it, and opens it (O_PATH).
// Links are followed inside the root, also those whose target does not exist yet:
// /var/run in an image that has no /run is made as /run.
func (r *Root) MkdirAll(path string, mode fs.FileMode) (*os.File, error) {
	// Almost always everything is there.
	fd, err := r.openat2("mkdir", path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if isErrno(err, unix.ENOENT) && path != "" {
		fd, err = r.mkdirAll(path, mode)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// mkdirAll walks down name by name. Every name is resolved by the kernel from the
// root again, so what another process changes meanwhile moves the new
// directories about inside the root, never out of it.
func (r *Root) mkdirAll(path string, mode fs.FileMode) (int, error) {
	const op = "mkdir"
	dir, err := r.openat2(op, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	done, rest := "", components(path)
	links := 0
	for tries := 0; len(rest) > 0; {
		next := done + "/" + rest[0]
		fd, err := r.openat2(op, next, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err == nil {
			unix.Close(dir)
			dir, done, rest = fd, next, rest[1:]
			continue
		}
		if !isErrno(err, unix.ENOENT) {
			unix.Close(dir)
			return -1, err
		}
		err = retry(func() error { return unix.Mkdirat(dir, rest[0], kernelMode(mode)) })
		if err == unix.EEXIST {
			// A link to something missing, or somebody was faster.
			var target string
			target, err = readlinkat(dir, rest[0])
			switch {
			case err == nil && links == maxLinks:
				err = unix.ELOOP
			case err == nil:
				links++
				rest = append(components(target), rest[1:]...)
				if strings.HasPrefix(target, "/") {
					done = ""
				}
				fd, err = r.openat2(op, done+"/.", unix.O_PATH|unix.O_DIRECTORY, 0)
				if err == nil {
					unix.Close(dir)
					dir = fd
				}
			case err == unix.EINVAL || err == unix.ENOENT:
				err = nil
			}
		}
		if err == nil {
			if tries++; tries > maxAttempts+len(rest) {
				err = errUnstable
			}
		}
		if err != nil {
			unix.Close(dir)
			return -1, failed(op, next, err)
		}
	}
	return dir, nil
}

// MkfileAll makes an empty regular file at path, and the missing directories
// above it (0755), unless something other than a directory is there already; it
// opens it (O_PATH). It makes the target of a mount of a file. Links are followed
// inside the root, also those whose target does not exist yet.
func (r *Root) MkfileAll(path string, mode fs.FileMode) (*os.File, error) {
	const op = "make file"
	asked := path
	for range maxLinks {
		fd, err := r.openat2(op, path, unix.O_PATH, 0)
		if err == nil {
			var st unix.Stat_t
			if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				err = unix.EISDIR
			}
			if err != nil {
				unix.Close(fd)
				return nil, failed(op, asked, err)
			}
			return os.NewFile(uintptr(fd), asked), nil
		}
		if !isErrno(err, unix.ENOENT) {
			return nil, err
		}
		up, base := split(path)
		if base == "" || base == "." || base == ".." {
			return nil, failed(op, asked, noName{})
		}
		dir, err := r.MkdirAll(up, 0o755)
		if err != nil {
			return nil, err
		}
		path, err = makeFile(int(dir.Fd()), up, base, mode)
		dir.Close()
		if err != nil {
			return nil, failed(op, asked, err)
		}
	}
	return nil, failed(op, asked, unix.ELOOP)
}

// makeFile returns the path at which to look next.
func makeFile(dir int, up, base string, mode fs.FileMode) (string, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, kernelMode(mode))
		return err
	})
	if err == nil {
		unix.Close(fd)
	}
	if err != unix.EEXIST {
		return up + "/" + base, err
	}
	target, err := readlinkat(dir, base)
	if err == unix.EINVAL || err == unix.ENOENT {
		return up + "/" + base, nil
	}
	if strings.HasPrefix(target, "/") {
		return target, err
	}
	return up + "/" + target, err
}
