// Package inroot opens, creates, changes and removes files below a root
// directory whose content is hostile: an image's layers, a container's root file
// system, a volume. No path leads out of the root: neither "..", nor absolute
// or relative links, nor a link that is swapped while we look, nor a magic link
// of /proc. Resolution is the kernel's (openat2 with RESOLVE_IN_ROOT and
// RESOLVE_NO_MAGICLINKS, Linux 5.6), so "/" and ".." at the top mean the root
// itself, as they would after chroot.
//
// Paths are resolved from the root whether they begin with "/" or not. Calls
// whose name has a counterpart in the kernel's *at family never follow a link in
// the last component (Lstat, Readlink, Lchown, Remove, Rename, Mkdir, Mknod, …);
// Open, MkdirAll, ReadFile and WriteFile follow it, inside the root.
//
// The process's umask applies to everything that is made with a mode.
// A Root may be used by several goroutines at once.
package inroot

import (
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Root is a directory below which paths are resolved.
type Root struct{ f *os.File }

// Entry is one name of a directory.
type Entry struct {
	Name string
	Type fs.FileMode // type bits only; fs.ModeIrregular when the file system does not say
}

// Open opens dir, a path on the host that the caller trusts, as a root.
func Open(dir string) (*Root, error) { panic("soon") }

// From makes a Root of an open directory (O_PATH is enough); the Root owns f.
func From(f *os.File) *Root { return &Root{f} }

// Sub makes a Root of a directory below r, resolved as Open does.
func (r *Root) Sub(path string) (*Root, error) { panic("soon") }

// File returns the root's descriptor, which the Root keeps.
func (r *Root) File() *os.File { return r.f }

// Close closes the root's descriptor.
func (r *Root) Close() error { return r.f.Close() }

// Open opens path with openat2; flags as for open(2), O_CLOEXEC is added, mode
// only counts with O_CREAT. A link in the last component is followed inside
// the root unless O_NOFOLLOW is given.
func (r *Root) Open(path string, flags int, mode uint32) (*os.File, error) { panic("soon") }

// OpenRegular opens an existing regular file and refuses anything else without
// side effects: a FIFO does not block, a device's driver is not asked.
func (r *Root) OpenRegular(path string, flags int) (*os.File, error) { panic("soon") }

// Parent opens the directory that holds path's last component and returns that
// component, for use with the *at calls. The path must not end in "." or ".."
// or be the root.
func (r *Root) Parent(path string) (dir *os.File, base string, err error) { panic("soon") }

// MkdirAll makes path and the missing directories above it, and opens it (O_PATH).
// Links are followed inside the root, also those whose target does not exist yet.
func (r *Root) MkdirAll(path string, mode fs.FileMode) (*os.File, error) { panic("soon") }

// Mkdir makes one directory.
func (r *Root) Mkdir(path string, mode fs.FileMode) error { panic("soon") }

// Symlink makes a link at path with the given text, which is stored as it is.
func (r *Root) Symlink(target, path string) error { panic("soon") }

// Link makes path a further name of the file at old; a link at old itself is linked, not followed.
func (r *Root) Link(old, path string) error { panic("soon") }

// Mknod makes a device, FIFO or socket node; mode and dev as for mknod(2).
func (r *Root) Mknod(path string, mode uint32, dev uint64) error { panic("soon") }

// Remove removes a file or an empty directory.
func (r *Root) Remove(path string) error { panic("soon") }

// RemoveAll removes path and everything below it; a missing path is no error.
// It never follows a link and refuses to enter a mounted file system (EXDEV).
func (r *Root) RemoveAll(path string) error { panic("soon") }

// Rename moves old to new, replacing what is there as rename(2) does.
func (r *Root) Rename(old, new string) error { panic("soon") }

// Lstat describes path without following a link at its end.
func (r *Root) Lstat(path string) (*unix.Stat_t, error) { panic("soon") }

// Stat describes path; a link at its end is followed inside the root.
func (r *Root) Stat(path string) (*unix.Stat_t, error) { panic("soon") }

// Readlink returns the text of the link at path.
func (r *Root) Readlink(path string) (string, error) { panic("soon") }

// ReadDir lists at most max entries of a directory in the kernel's order; more are an error. 0 means no limit.
func (r *Root) ReadDir(path string, max int) ([]Entry, error) { panic("soon") }

// ReadFile reads a regular file of at most max bytes.
func (r *Root) ReadFile(path string, max int64) ([]byte, error) { panic("soon") }

// WriteFile replaces the content of a regular file, or makes it with the given mode.
func (r *Root) WriteFile(path string, data []byte, mode fs.FileMode) error { panic("soon") }

// Lchown sets the owner; -1 leaves an id alone.
func (r *Root) Lchown(path string, uid, gid int) error { panic("soon") }

// Chmod sets the permission bits incl. set-id and sticky (07777); a link at path is refused.
func (r *Root) Chmod(path string, mode uint32) error { panic("soon") }

// Utimes sets the access and modification times; the zero time leaves one alone.
func (r *Root) Utimes(path string, atime, mtime time.Time) error { panic("soon") }

// SetXattr, GetXattr, ListXattrs and RemoveXattr work on path itself, never on a link's target.
func (r *Root) SetXattr(path, name string, value []byte) error { panic("soon") }

// GetXattr returns an extended attribute's value.
func (r *Root) GetXattr(path, name string) ([]byte, error) { panic("soon") }

// ListXattrs returns the names of the extended attributes.
func (r *Root) ListXattrs(path string) ([]string, error) { panic("soon") }

// RemoveXattr removes an extended attribute.
func (r *Root) RemoveXattr(path, name string) error { panic("soon") }
