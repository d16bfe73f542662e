package mountapi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/fsid"
)

// IDMap lets a mount show other owners than its file system holds.
type IDMap struct {
	UserNS   *os.File // its maps lead from the file system's ids to the ids shown
	UID, GID int      // what its root is shown as
}

// ErrNoIDMap reports that a directory cannot be mounted with other owners.
var ErrNoIDMap = errors.New("its file system, or this kernel, has no idmapped mounts (overlay needs Linux 5.19)")

// mapped is an overlay whose layers are idmapped mounts: no file is copied or given to
// another owner, and what the container's root writes belongs to root in the upper
// directory. The overlay works as that root, since on its layers nobody else exists.
type mapped struct {
	Overlay
	lower []*os.File
	top   *os.File // what upper and work lie in: they must be of one mount
}

func (o Overlay) mountMapped() (*os.File, error) {
	m := &mapped{Overlay: o}
	// The overlay has its own references. To let a mount go the kernel waits for every
	// processor, about a millisecond for each: nobody has to wait with it.
	defer func() { go m.close() }()
	for _, dir := range o.Lower {
		f, err := o.IDMap.clone(dir)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", dir, err)
		}
		m.lower = append(m.lower, f)
	}
	if o.Upper != "" {
		dir := filepath.Dir(o.Upper)
		if filepath.Dir(o.Work) != dir {
			return nil, fmt.Errorf("overlay: %s and %s must lie in one directory", o.Upper, o.Work)
		}
		var err error
		if m.top, err = o.IDMap.clone(dir); err != nil {
			return nil, fmt.Errorf("layer %s: %w", o.Upper, err)
		}
	}
	var f *os.File
	err := fsid.As(o.IDMap.UID, o.IDMap.GID, func() (err error) {
		f, err = m.detached()
		return err
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.EOPNOTSUPP) {
		// Before Linux 6.15 a layer must be attached somewhere.
		f, err = m.attached()
	}
	return f, err
}

func (m *mapped) close() {
	for _, f := range m.lower {
		f.Close()
	}
	if m.top != nil {
		m.top.Close()
	}
}

// clone makes a detached mount of a directory with the owners mapped.
func (i *IDMap) clone(dir string) (*os.File, error) {
	f, err := CloneTree(dir, false)
	if err != nil {
		return nil, err
	}
	err = SetAttr(f, Attr{UserNS: i.UserNS}, false)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) || errors.Is(err, ErrNoSetAttr) {
		err = fmt.Errorf("%w: %w", ErrNoIDMap, err)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// detached makes the overlay of mounts that are nowhere.
func (m *mapped) detached() (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open file system type overlay: %w", err)
	}
	defer unix.Close(fs)
	for i, f := range m.lower {
		if err := unix.FsconfigSetFd(fs, "lowerdir+", int(f.Fd())); err != nil {
			return nil, explain(fs, fmt.Errorf("layer %s: %w", m.Lower[i], err))
		}
	}
	if m.top != nil {
		for key, dir := range map[string]string{"upperdir": m.Upper, "workdir": m.Work} {
			fd, err := unix.Openat(int(m.top.Fd()), filepath.Base(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, fmt.Errorf("layer %s: %w", dir, err)
			}
			err = unix.FsconfigSetFd(fs, key, fd)
			unix.Close(fd)
			if err != nil {
				return nil, explain(fs, fmt.Errorf("layer %s: %w", dir, err))
			}
		}
	}
	for _, p := range m.Params {
		if err := set(fs, p); err != nil {
			return nil, explain(fs, fmt.Errorf("overlay: option %s: %w", p.Key, err))
		}
	}
	return m.finish(fs)
}

func (o *Overlay) finish(fs int) (*os.File, error) {
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, explain(fs, fmt.Errorf("create an overlay of %d layers: %w", len(o.Lower), err))
	}
	f, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, explain(fs, fmt.Errorf("mount an overlay: %w", err))
	}
	return os.NewFile(uintptr(f), "overlay"), nil
}

// attached makes the overlay in a mount namespace that lasts for that long, where the
// layers are attached under short names, and returns a detached copy.
func (m *mapped) attached() (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	out := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		err := m.attach()
		if err == nil {
			err = fsid.Become(m.IDMap.UID, m.IDMap.GID)
		}
		var f *os.File
		if err == nil {
			f, err = m.old()
		}
		out <- result{f, err}
	}()
	r := <-out
	return r.f, r.err
}

// attachAt is a directory that every host has.
const attachAt = "/proc"

func (m *mapped) attach() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace for the layers: %w", err)
	}
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", attachAt, "tmpfs", 0, ""),
		unix.Chdir(attachAt),
		unix.Mkdir("merged", 0o755),
	)
	if err != nil {
		return fmt.Errorf("make a place for the layers: %w", err)
	}
	move := func(f *os.File, name string) error {
		if err := unix.Mkdir(name, 0o755); err != nil {
			return err
		}
		return unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	for i, f := range m.lower {
		if err := move(f, strconv.Itoa(i)); err != nil {
			return fmt.Errorf("attach the layer %s: %w", m.Lower[i], err)
		}
	}
	if m.top != nil {
		if err := move(m.top, "top"); err != nil {
			return fmt.Errorf("attach the layer %s: %w", m.Upper, err)
		}
	}
	return nil
}

func (m *mapped) old() (*os.File, error) {
	names := make([]string, len(m.lower))
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	options := "lowerdir=" + strings.Join(names, ":")
	if m.top != nil {
		options += ",upperdir=top/" + filepath.Base(m.Upper) + ",workdir=top/" + filepath.Base(m.Work)
	}
	for _, p := range m.Params {
		options += "," + p.Key
		if p.Value != "" {
			options += "=" + p.Value
		}
	}
	if err := unix.Mount("overlay", "merged", "overlay", 0, options); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: %w", ErrNoIDMap, err)
		}
		return nil, fmt.Errorf("create an overlay of %d layers: %w", len(m.lower), err)
	}
	return CloneTree("merged", false)
}
