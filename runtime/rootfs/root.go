package rootfs

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// OpenDir makes a detached mount of a directory with everything mounted below it. With
// the propagation of linux.rootfsPropagation that lets mounts in, it receives what the
// host mounts there; it tells the host nothing, whatever it is.
func OpenDir(path, propagation string) (*os.File, error) {
	receive := uint64(unix.MS_PRIVATE)
	switch strings.TrimPrefix(propagation, "r") {
	case "shared", "slave":
		receive = unix.MS_SLAVE
	}
	root, err := mountapi.CloneTree(path, true)
	if err != nil {
		return nil, fault.New(fault.Invalid, "root file system %s: %s", path, plain(err))
	}
	var st unix.Stat_t
	err = unix.Fstat(int(root.Fd()), &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = fault.New(fault.Invalid, "root file system %s: it is not a directory", path)
	}
	if err == nil {
		err = mountapi.SetAttr(root, mountapi.Attr{Propagation: receive}, true)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// plain is an error's text without the words that clients of the Engine API take
// for a missing or forbidden program.
func plain(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return "it does not exist"
	case errors.Is(err, unix.EACCES):
		return "access is denied"
	}
	return err.Error()
}

// OpenOverlay makes an overlay as a detached mount.
func OpenOverlay(o mountapi.Overlay) (*os.File, error) {
	root, err := o.Mount()
	if errors.Is(err, mountapi.ErrNoAppend) {
		return legacyOverlay(o)
	}
	return root, err
}

// legacyOverlay serves kernels before 6.7, whose overlay takes all layers in one
// string of at most a page: mount(2) in a mount namespace of its own, with the layers
// named by the numbers of their descriptors, and a detached copy of that. The
// descriptors are opened in that namespace, since overlay takes no directory of
// another one. Remove it when the oldest supported kernel is 6.7.
func legacyOverlay(o mountapi.Overlay) (*os.File, error) {
	b := launch.NewBuilder()
	defer b.Release()
	b.At("make an overlay")
	b.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	const first = 100 // numbers of the layers' descriptors in the child
	end := first + len(o.Lower) + 2
	b.Call(unix.SYS_FCNTL, launch.In(launch.Report), launch.Int(unix.F_DUPFD_CLOEXEC), launch.Int(end)).Into(launch.Report)
	next := first
	open := func(dir string) string {
		b.At("open the layer " + dir)
		fd := b.Slot()
		b.Openat(launch.Cwd(), dir, unix.O_PATH|unix.O_DIRECTORY, 0).Into(fd)
		b.Call(unix.SYS_DUP3, launch.In(fd), launch.Int(next), launch.Int(unix.O_CLOEXEC)).Ignore(syscall.EINVAL) // it has that number already
		b.Free(fd)
		next++
		return strconv.Itoa(next - 1)
	}
	lower := make([]string, len(o.Lower))
	for i, dir := range o.Lower {
		lower[i] = open(dir)
	}
	data := "lowerdir=" + strings.Join(lower, ":")
	if o.Upper != "" {
		data += ",upperdir=" + open(o.Upper) + ",workdir=" + open(o.Work)
	}
	for _, p := range o.Params {
		data += "," + p.Key
		if p.Value != "" {
			data += "=" + p.Value
		}
	}
	b.At("make an overlay of "+strconv.Itoa(len(o.Lower))+" layers",
		launch.Hint{Errno: syscall.EINVAL, Text: "the kernel log says what is wrong with the layers"})
	tree := b.Slot()
	b.Call(unix.SYS_CHDIR, b.Str("/proc/self/fd"))
	// The directory /proc exists everywhere; the current directory stays below the mount.
	b.Mount("overlay", "/proc", "overlay", 0, data)
	b.CloneTree(launch.Cwd(), "/proc", 0).Into(tree)
	b.Send(launch.In(tree))
	b.Exit(0)
	p, err := b.Finish()
	if err != nil {
		return nil, err
	}
	c, err := p.Start(launch.StartOptions{Flags: unix.CLONE_NEWNS})
	if err != nil {
		return nil, err
	}
	defer c.PidFD.Close()
	defer c.Close()
	defer c.Wait()
	m, err := c.Next()
	if errors.Is(err, io.EOF) {
		err = errors.New("make an overlay: the process that makes it was killed")
	}
	if err != nil {
		return nil, err
	}
	return m.Files[0], nil
}
