package rootview

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// Bind is something of the host that shows at a place of the root.
type Bind struct {
	Source, Destination string
	ReadOnly, Recursive bool
}

// Root describes the root of a container that does not run.
type Root struct {
	Lower       []string // top first
	Upper, Work string
	ReadOnly    bool
	Binds       []Bind // parents before what is mounted below them
}

// View is a root that is mounted for the daemon alone, in a mount namespace that
// no process is in. It ends with Close, and with the daemon.
type View struct {
	*inroot.Root
	ns *os.File
}

// Close takes the mounts away.
func (v *View) Close() error {
	return errors.Join(v.Root.Close(), v.ns.Close())
}

// Mount mounts a root as the container would see it, without what only a running
// one has (proc, sysfs, tmpfs). Nobody else may have upper mounted: the caller
// keeps the container from starting until Close.
func Mount(r Root) (*View, error) {
	return inNamespace(func(ns *os.File) (*View, error) {
		root, err := r.mount()
		if err != nil {
			return nil, fmt.Errorf("mount the root of the container: %w", err)
		}
		return &View{root, ns}, nil
	})
}

// Alone returns the root of a running container without what is mounted in it. root and
// namespace are its root directory and mount namespace.
func Alone(root, namespace *os.File) (*inroot.Root, error) {
	type result struct {
		f   *os.File
		err error
	}
	out := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has joined the container's mounts
		f, err := cloneIn(root, namespace)
		out <- result{f, err}
	}()
	r := <-out
	if r.err != nil {
		return nil, fmt.Errorf("open the root of the container without its mounts: %w", r.err)
	}
	return inroot.From(r.f), nil
}

func cloneIn(root, namespace *os.File) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, err
	}
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNS); err != nil {
		return nil, err
	}
	fd, err := unix.OpenTree(int(root.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/"), nil
}

// inNamespace runs f in a new mount namespace whose mounts live as long as the
// descriptor of it.
func inNamespace(f func(ns *os.File) (*View, error)) (*View, error) {
	type result struct {
		view *View
		err  error
	}
	out := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread's namespace is not the daemon's
		var r result
		r.err = privateMounts()
		var ns *os.File
		if r.err == nil {
			ns, r.err = os.Open("/proc/thread-self/ns/mnt")
		}
		if r.err == nil {
			if r.view, r.err = f(ns); r.err != nil {
				ns.Close()
			}
		}
		out <- r
	}()
	r := <-out
	return r.view, r.err
}

func privateMounts() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	return nil
}

// place is where the root stands in the private namespace: a directory that every
// host has, and that holds no source of a bind.
const place = "/proc"

func (r *Root) mount() (*inroot.Root, error) {
	// The sources come first: the root may cover them.
	trees := make([]*os.File, len(r.Binds))
	defer func() {
		for _, t := range trees {
			if t != nil {
				t.Close()
			}
		}
	}()
	for i, b := range r.Binds {
		tree, err := mountapi.CloneTree(b.Source, b.Recursive)
		if err != nil {
			return nil, fmt.Errorf("mount %s at %s: %w", b.Source, b.Destination, err)
		}
		trees[i] = tree
	}
	root, err := r.overlay()
	if err != nil {
		return nil, err
	}
	for i, b := range r.Binds {
		if err := attach(root, trees[i], b); err != nil {
			root.Close()
			return nil, fmt.Errorf("mount %s at %s: %w", b.Source, b.Destination, err)
		}
	}
	return root, nil
}

// overlay mounts the layers over place and opens what is there.
func (r *Root) overlay() (*inroot.Root, error) {
	m, err := mountapi.Overlay{Lower: r.Lower, Upper: r.Upper, Work: r.Work}.Mount()
	if errors.Is(err, mountapi.ErrNoAppend) { // Linux < 6.7
		err = r.oldOverlay()
	} else if err == nil {
		defer m.Close()
		err = unix.MoveMount(int(m.Fd()), "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return nil, err
	}
	if r.ReadOnly {
		if err := unix.Mount("", place, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return nil, fmt.Errorf("make it read-only: %w", err)
		}
	}
	return inroot.Open(place)
}

func (r *Root) oldOverlay() error {
	fds := make([]string, 0, len(r.Lower))
	for _, dir := range r.Lower {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("layer %s: %w", dir, err)
		}
		defer unix.Close(fd)
		fds = append(fds, fmt.Sprint(fd))
	}
	// A page holds the options of mount(2): short names make 500 layers fit.
	if err := unix.Chdir("/proc/thread-self/fd"); err != nil {
		return err
	}
	defer unix.Chdir("/")
	options := "lowerdir=" + strings.Join(fds, ":")
	if r.Upper != "" {
		options += ",upperdir=" + r.Upper + ",workdir=" + r.Work
	}
	return unix.Mount("overlay", place, "overlay", 0, options)
}

// attach puts a tree at a place of the root, which it makes if it is missing, as
// a start would.
func attach(root *inroot.Root, tree *os.File, b Bind) error {
	if b.ReadOnly {
		if err := mountapi.SetAttr(tree, mountapi.Attr{Set: unix.MOUNT_ATTR_RDONLY}, b.Recursive); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	target, err := root.Open(b.Destination, unix.O_PATH, 0)
	if errors.Is(err, os.ErrNotExist) {
		if isDir {
			target, err = root.MkdirAll(path.Clean(b.Destination), 0o755)
		} else {
			target, err = root.MkfileAll(path.Clean(b.Destination), 0o644)
		}
	}
	if err != nil {
		return err
	}
	defer target.Close()
	return unix.MoveMount(int(tree.Fd()), "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
