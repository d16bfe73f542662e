// Package rootview reads the root file system of an image or a container on
// behalf of the daemon: its account files, and a directory that a new volume
// begins with. Everything in it is hostile: links are resolved inside the root,
// only regular files are read, and all sizes are bounded. Nothing is mounted on
// the host; a container's own root is mounted by its shim only.
package rootview

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// maxAccountFile bounds /etc/passwd and /etc/group of an image (CVE-2022-4318).
const maxAccountFile = 4 << 20

// Open opens layers, top first, merged and read-only, without a mount
// that anybody else could see. It serves the rare reads of an image's tree by
// the daemon; the container's own root is mounted by its shim only.
func Open(layers []string) (*inroot.Root, error) {
	if len(layers) == 1 {
		return inroot.Open(layers[0])
	}
	mount, err := mountapi.Overlay{Lower: layers}.Mount()
	if errors.Is(err, mountapi.ErrNoAppend) { // Linux < 6.7
		return overlayInThread(layers)
	}
	if err != nil {
		return nil, fmt.Errorf("read the layers of the image: %w", err)
	}
	return inroot.From(mount), nil
}

// overlayInThread mounts in a mount namespace of one thread, which ends with it;
// the descriptor keeps the mount alive.
func overlayInThread(layers []string) (*inroot.Root, error) {
	type result struct {
		root *inroot.Root
		err  error
	}
	out := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread's namespace is not the daemon's
		root, err := overlayHere(layers)
		out <- result{root, err}
	}()
	r := <-out
	return r.root, r.err
}

func overlayHere(layers []string) (*inroot.Root, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("unshare the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make the mounts private: %w", err)
	}
	fds := make([]string, len(layers))
	for i, l := range layers {
		fd, err := unix.Open(l, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l, err)
		}
		defer unix.Close(fd)
		fds[i] = fmt.Sprint(fd)
	}
	// A page holds the options of mount(2): short names make 500 layers fit.
	if err := unix.Chdir("/proc/thread-self/fd"); err != nil {
		return nil, err
	}
	const target = "/sys"
	if err := unix.Mount("overlay", target, "overlay", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "lowerdir="+strings.Join(fds, ":")); err != nil {
		return nil, fmt.Errorf("mount an overlay of %d layers: %w", len(layers), err)
	}
	return inroot.Open(target)
}

// Accounts reads /etc/passwd and /etc/group of a container whose root consists
// of the layers, top first. A missing file is empty.
func Accounts(layers []string) (passwd, group []byte, err error) {
	if passwd, err = readAccount(layers, "passwd"); err != nil {
		return nil, nil, err
	}
	group, err = readAccount(layers, "group")
	return passwd, group, err
}

// readAccount finds etc/NAME by looking through the layers, as overlay would;
// where links, whiteouts or moved directories make that more than a look-up, it
// asks overlay itself.
func readAccount(layers []string, name string) ([]byte, error) {
	for _, l := range layers {
		data, state, err := accountInLayer(l, name)
		switch {
		case err != nil:
			return nil, err
		case state == found:
			return data, nil
		case state == covered:
			return nil, nil
		case state == unclear:
			return accountInView(layers, name)
		}
	}
	return nil, nil
}

type lookup int

const (
	absent  lookup = iota // look further down
	found                 //
	covered               // nothing below shows through
	unclear               // only overlay can tell
)

func accountInLayer(layer, name string) ([]byte, lookup, error) {
	dir, err := unix.Open(layer, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, absent, fmt.Errorf("layer %s: %w", layer, err)
	}
	defer unix.Close(dir)
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	how.Flags |= unix.O_DIRECTORY
	etc, err := unix.Openat2(dir, "etc", &how)
	switch err {
	case nil:
	case unix.ENOENT:
		return nil, absent, nil
	default:
		return nil, unclear, nil
	}
	defer unix.Close(etc)
	if xattr(etc, "redirect") {
		return nil, unclear, nil
	}
	var st unix.Stat_t
	switch err := unix.Fstatat(etc, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
	case unix.ENOENT:
		if xattr(etc, "opaque") {
			return nil, covered, nil
		}
		return nil, absent, nil
	default:
		return nil, unclear, nil
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 { // a whiteout
		return nil, covered, nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, unclear, nil
	}
	root, err := inroot.Open("/proc/self/fd/" + fmt.Sprint(etc))
	if err != nil {
		return nil, unclear, nil
	}
	defer root.Close()
	data, err := root.ReadFile(name, maxAccountFile)
	if err != nil {
		return nil, absent, fmt.Errorf("/etc/%s of the container: %w", name, err)
	}
	return data, found, nil
}

func xattr(fd int, name string) bool {
	n, err := unix.Fgetxattr(fd, "trusted.overlay."+name, nil)
	return err == nil && n > 0
}

func accountInView(layers []string, name string) ([]byte, error) {
	root, err := Open(layers)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := root.ReadFile("/etc/"+name, maxAccountFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("/etc/%s of the container: %w", name, err)
	}
	return data, nil
}
