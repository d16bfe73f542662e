// Package inroot opens, creates, changes and removes files below a root
// directory whose content is hostile: an image's layers, a container's root file
// system, a volume. No path leads out of the root: neither "..", nor absolute
// or relative links, nor a link that is swapped while we look, nor a magic link
// of /proc. Resolution is the kernel's (openat2 with RESOLVE_IN_ROOT and
// RESOLVE_NO_MAGICLINKS, Linux 5.6), so "/" and ".." at the top mean the root
// itself, as they would after chroot.
//
// Paths are resolved from the root whether they begin with "/" or not. Calls
// that work on a name (Lstat, Readlink, Lchown, Chmod, Utimes, the xattr calls,
// Remove, RemoveAll, Rename, Link, Symlink, Mkdir, Mknod) never follow a link in
// the last component. Calls that work on what a path leads to (Open, OpenRegular,
// Stat, ReadDir, ReadFile, WriteFile, MkdirAll, MkfileAll) follow it, inside the root.
//
// Errors are *fs.PathError with the path inside the root. The process's umask
// applies to everything that is made with a mode. A Root may be used by several
// goroutines at once.
package inroot

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxAttempts bounds the retries while somebody keeps changing the tree
	// under us. openat2 gives EAGAIN when a rename or mount anywhere on the
	// machine races with a ".."; runc uses 128 after having seen 32 fail in CI.
	maxAttempts = 128
	// maxLinks is the kernel's own limit for links in one path (MAXSYMLINKS).
	maxLinks = 40
)

// errUnstable is EAGAIN with a cause that a user can act on.
var errUnstable = unstable{}

type unstable struct{}

func (unstable) Error() string {
	return "the path kept changing while it was resolved (another process renames or mounts below the root)"
}
func (unstable) Is(target error) bool { return target == unix.EAGAIN }

// Root is a directory below which paths are resolved.
type Root struct{ f *os.File }

// Open opens dir, a path on the host that the caller trusts, as a root.
func Open(dir string) (*Root, error) {
	for {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, failed("open root", dir, err)
		}
		return From(os.NewFile(uintptr(fd), dir)), nil
	}
}

// From makes a Root of an open directory (O_PATH is enough); the Root owns f.
func From(f *os.File) *Root { return &Root{f} }

// Sub makes a Root of a directory below r, resolved as Open does.
func (r *Root) Sub(path string) (*Root, error) {
	f, err := r.Open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return From(f), nil
}

// File returns the root's descriptor, which the Root keeps.
func (r *Root) File() *os.File { return r.f }

// Close closes the root's descriptor.
func (r *Root) Close() error { return r.f.Close() }

// Open opens path with openat2; flags as for open(2), O_CLOEXEC is added, mode
// only counts with O_CREAT. A link in the last component is followed inside
// the root unless O_NOFOLLOW is given. Opening a FIFO or a device has its usual
// effects: see OpenRegular for files that a container controls.
func (r *Root) Open(path string, flags int, mode uint32) (*os.File, error) {
	fd, err := r.openat2("open", path, flags, mode)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenFD is Open for callers that open very many files: the plain descriptor, which
// the caller closes.
func (r *Root) OpenFD(path string, flags int) (int, error) { return r.openat2("open", path, flags, 0) }

// OpenExact is OpenFD for a path that leads through no link at all: one anywhere in
// it is ELOOP, or ENOTDIR for the last name with O_DIRECTORY.
func (r *Root) OpenExact(path string, flags int) (int, error) {
	return r.resolve("open", path, flags|unix.O_NOFOLLOW, 0, unix.RESOLVE_NO_SYMLINKS)
}

func (r *Root) openat2(op, path string, flags int, mode uint32) (int, error) {
	return r.resolve(op, path, flags, mode, 0)
}

// resolve is the one place where a path is resolved.
func (r *Root) resolve(op, path string, flags int, mode uint32, further uint64) (int, error) {
	if path == "" {
		return -1, failed(op, path, unix.ENOENT)
	}
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | further,
	}
	if flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE {
		how.Mode = uint64(mode)
	}
	for range maxAttempts {
		fd, err := unix.Openat2(int(r.f.Fd()), path, &how)
		runtime.KeepAlive(r)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.ENOSYS:
			return -1, failed(op, path, noOpenat2{})
		}
		return -1, failed(op, path, err)
	}
	return -1, failed(op, path, errUnstable)
}

type noOpenat2 struct{}

func (noOpenat2) Error() string {
	return "the openat2 system call is missing (Linux 5.6 or newer is needed, and a surrounding container must allow it)"
}
func (noOpenat2) Is(target error) bool { return target == unix.ENOSYS }

// handle opens path itself (a link is not followed) for the *at calls that take
// an empty path.
func (r *Root) handle(op, path string) (int, error) {
	return r.openat2(op, path, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// Parent opens the directory that holds path's last component and returns that
// component, for use with the *at calls. The path must not end in "." or ".."
// or be the root: those have no name that could be made or removed.
func (r *Root) Parent(path string) (dir *os.File, base string, err error) {
	fd, base, err := r.parent("open parent of", path)
	if err != nil {
		return nil, "", err
	}
	return os.NewFile(uintptr(fd), path), base, nil
}

func (r *Root) parent(op, path string) (int, string, error) {
	up, base := split(path)
	switch base {
	case "", ".", "..":
		return -1, "", failed(op, path, noName{})
	}
	fd, err := r.openat2(op, up, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		// Name the path the caller asked for: it is the one the user knows.
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = failed(op, path, pe.Err)
		}
		return -1, "", err
	}
	return fd, base, nil
}

type noName struct{}

func (noName) Error() string        { return "the path does not end in a name" }
func (noName) Is(target error) bool { return target == unix.EINVAL }
func split(path string) (string, string) {
	path = strings.TrimRight(path, "/")
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ".", path
	}
	return path[:i+1], path[i+1:]
}

// components splits a path and leaves out what has no meaning to the kernel.
// ".." stays: what it means depends on links.
func components(path string) []string {
	var list []string
	for c := range strings.SplitSeq(path, "/") {
		if c != "" && c != "." {
			list = append(list, c)
		}
	}
	return list
}

// failed makes the error of this package. A path of hostile origin is quoted
// when it holds bytes that would garble a terminal or a log.
func failed(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: printable(path), Err: err}
}

func printable(path string) string {
	for _, c := range path {
		if !strconv.IsPrint(c) {
			return strconv.Quote(path)
		}
	}
	return path
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// kernelMode translates the permission, set-id and sticky bits.
func kernelMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= unix.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		mode |= unix.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		mode |= unix.S_ISVTX
	}
	return mode
}

// timespec translates a time; the zero time means "leave alone".
func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}
