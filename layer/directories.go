package layer

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

const (
	// openDirectories bounds the descriptors that one extraction caches.
	openDirectories = 128
	// maxPath is PATH_MAX: nobody could open a longer path in one go.
	maxPath = 4096
	// maxDirectories and maxDirectoryBytes bound what an extraction remembers,
	// one record a directory. Debian's whole archive unpacked has fewer.
	maxDirectories    = 512 << 10
	maxDirectoryBytes = 64 * mib

	impliedMode = 0o755
	opaqueXattr = "trusted.overlay.opaque"
)

// directory is an open directory of the tree under construction. real is its
// path without links, "." for the root.
type directory struct {
	desc int
	real string
}

func (d *directory) fd() int { return d.desc }

// self names the directory for calls that do not take an O_PATH descriptor.
func (d *directory) self() string { return "/proc/self/fd/" + strconv.Itoa(d.fd()) }

func (d *directory) join(base string) string { return path.Join(d.real, base) }

type times struct {
	real         string
	atime, mtime unix.Timespec
}

// directories resolves parents in the tree, makes those that the tar implies,
// and remembers the directories whose times are set once all is in place.
// Nobody else writes to the tree, so a resolved parent stays valid until this
// extraction itself replaces a directory or a link.
type directories struct {
	root     *inroot.Root
	rootReal string
	open     map[string]*directory // by path as the tar wrote it
	implied  map[string]struct{}   // by real path
	listed   []times
	count    int
	bytes    int
}

func newDirectories(root *inroot.Root) (*directories, error) {
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(root.File().Fd())))
	if err != nil {
		return nil, fmt.Errorf("name the layer's directory: %w", err)
	}
	return &directories{
		root:     root,
		rootReal: real,
		open:     map[string]*directory{},
		implied:  map[string]struct{}{".": {}},
	}, nil
}

// forget drops the resolved parents, because a link or a directory goes.
func (d *directories) forget() {
	for name, dir := range d.open {
		unix.Close(dir.desc)
		delete(d.open, name)
	}
}

// inside returns the path below the root of an open directory.
func (d *directories) inside(fd int, name string) (string, error) {
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", fmt.Errorf("name directory %q: %w", name, err)
	}
	rest, ok := strings.CutPrefix(real, d.rootReal)
	if !ok || rest != "" && rest[0] != '/' {
		return "", fault.New(fault.Invalid, "path %q leaves the layer", name)
	}
	return path.Join(".", rest), nil
}

// keep remembers an open directory whose path may have led through links.
func (d *directories) keep(name string, fd int) (*directory, error) {
	real, err := d.inside(fd, name)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return d.hold(name, real, fd), nil
}

// hold remembers an open directory of which the path without links is known,
// because it was made, or opened without following a link, below a parent with a
// known path.
func (d *directories) hold(name, real string, fd int) *directory {
	if len(d.open) >= openDirectories {
		d.forget()
	}
	if old := d.open[name]; old != nil {
		unix.Close(old.desc)
	}
	dir := &directory{desc: fd, real: real}
	d.open[name] = dir
	return dir
}

// get returns the directory at a cleaned path, making what is missing. It is
// valid until the next call of a method of d.
func (d *directories) get(name string) (*directory, error) {
	if dir := d.open[name]; dir != nil {
		return dir, nil
	}
	// A path that leads through no link is its own real path.
	fd, err := d.root.OpenExact(name, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		return d.hold(name, name, fd), nil
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) { // ENOTDIR: the last name is a link
		if fd, err = d.root.OpenFD(name, unix.O_PATH|unix.O_DIRECTORY); err == nil {
			return d.keep(name, fd)
		}
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) || name == "." {
		return nil, pathError("open", name, err)
	}
	parent, err := d.get(path.Dir(name))
	if err != nil {
		return nil, err
	}
	return d.imply(parent, name)
}

// imply makes a directory that the tar uses but has not listed.
func (d *directories) imply(parent *directory, name string) (*directory, error) {
	base := path.Base(name)
	err := unix.Mkdirat(parent.fd(), base, impliedMode)
	if errors.Is(err, unix.EEXIST) {
		var st unix.Stat_t
		if err := unix.Fstatat(parent.fd(), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, pathError("examine", name, err)
		}
		if !isWhiteout(&st) {
			return nil, fault.New(fault.Invalid, "path %q needs to be a directory, but the archive has made it a file or a link that leads nowhere", name)
		}
		// The layer hides what is below and then puts a directory in its place.
		if err := unix.Unlinkat(parent.fd(), base, 0); err != nil {
			return nil, pathError("replace", name, err)
		}
		if err = unix.Mkdirat(parent.fd(), base, impliedMode); err == nil {
			err = setOpaqueAt(parent, base)
		}
	}
	if err != nil {
		return nil, pathError("make directory", name, err)
	}
	fd, err := unix.Openat(parent.fd(), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, pathError("open directory", name, err)
	}
	if err := unix.Fchown(fd, 0, 0); err != nil { // a set-gid parent's group
		unix.Close(fd)
		return nil, pathError("set the owner of", name, err)
	}
	if err := unix.Fchmod(fd, impliedMode); err != nil { // the umask
		unix.Close(fd)
		return nil, pathError("set the mode of", name, err)
	}
	dir := d.hold(name, parent.join(base), fd)
	if err := d.remember(dir.real); err != nil {
		return nil, err
	}
	d.implied[dir.real] = struct{}{}
	return dir, nil
}

// list records that the tar lists the directory, and its times.
func (d *directories) list(real string, atime, mtime unix.Timespec) error {
	if err := d.remember(real); err != nil {
		return err
	}
	delete(d.implied, real)
	d.listed = append(d.listed, times{real, atime, mtime})
	return nil
}

func (d *directories) remember(real string) error {
	d.count++
	d.bytes += len(real)
	if d.count > maxDirectories || d.bytes > maxDirectoryBytes {
		return fault.New(fault.Invalid, "the archive has more than %d directories, or their names take more than %d MiB", maxDirectories, maxDirectoryBytes/mib)
	}
	return nil
}

// finish sets the times of all directories, last, because every entry made
// changed its parent's. It returns the implied directories that still exist.
func (d *directories) finish() ([]string, error) {
	d.forget()
	var implied []string
	for real := range d.implied {
		ok, err := d.setTimes(times{real: real})
		if err != nil {
			return nil, err
		}
		if ok {
			implied = append(implied, real)
		}
	}
	for _, t := range d.listed {
		if _, err := d.setTimes(t); err != nil {
			return nil, err
		}
	}
	return implied, nil
}

// setTimes tells whether t.real is still a directory. A later entry may have
// replaced it, or one of its parents by a link to somewhere else.
func (d *directories) setTimes(t times) (bool, error) {
	fd, err := d.root.OpenExact(t.real, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return false, nil
	}
	if err != nil {
		return false, pathError("open", t.real, err)
	}
	err = futimens(fd, t.atime, t.mtime)
	unix.Close(fd)
	if err != nil {
		return false, pathError("set the times of", t.real, err)
	}
	return true, nil
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// setOpaqueAt makes the overlay hide what lower layers have in the directory
// base, which this extraction has made: it is no link.
func setOpaqueAt(parent *directory, base string) error {
	return unix.Lsetxattr(parent.self()+"/"+base, opaqueXattr, []byte("y"), 0)
}
