package mountapi

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Overlay describes an overlay: layers from the top down, and the directories
// for changes, which may both be empty. Without layers it is Upper itself.
type Overlay struct {
	Lower       []string
	Upper, Work string
	Params      []Param // further options
	// IDMap shows owners through a user namespace; nil shows them as they are. Upper and
	// Work must then lie in one directory.
	IDMap *IDMap

	byPath bool // for tests: as before Linux 6.13, whose overlay takes no descriptors
}

// ErrNoAppend reports a kernel before 6.7, whose overlay cannot take its layers one
// by one. Such a kernel needs mount(2), which attaches; see package rootfs.
var ErrNoAppend = errors.New("overlay has no option lowerdir+")

// Mount makes the overlay as a detached mount. Layers go by descriptor where the
// kernel takes them (6.13) and by path otherwise.
func (o Overlay) Mount() (*os.File, error) {
	if len(o.Lower) == 0 {
		return o.plain()
	}
	if o.IDMap != nil {
		return o.mountMapped()
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open file system type overlay: %w", err)
	}
	defer unix.Close(fs)
	byFD := !o.byPath
	for _, dir := range o.Lower {
		if byFD, err = addLayer(fs, "lowerdir+", dir, byFD); err != nil {
			return nil, err
		}
	}
	if o.Upper != "" {
		if byFD, err = addLayer(fs, "upperdir", o.Upper, byFD); err != nil {
			return nil, err
		}
		if _, err = addLayer(fs, "workdir", o.Work, byFD); err != nil {
			return nil, err
		}
	}
	for _, p := range o.Params {
		if err := set(fs, p); err != nil {
			return nil, explain(fs, fmt.Errorf("overlay: option %s: %w", p.Key, err))
		}
	}
	return o.finish(fs)
}

// plain makes a detached mount of Upper.
func (o Overlay) plain() (*os.File, error) {
	clone := func(dir string) (*os.File, error) { return CloneTree(dir, false) }
	if o.IDMap != nil {
		clone = o.IDMap.clone
	}
	m, err := clone(o.Upper)
	if err != nil {
		return nil, fmt.Errorf("root directory %s: %w", o.Upper, err)
	}
	if err := SetAttr(m, Attr{Propagation: unix.MS_PRIVATE}, false); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// addLayer passes one directory and says whether descriptors work on this kernel.
func addLayer(fs int, key, dir string, byFD bool) (bool, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return byFD, fmt.Errorf("layer %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if byFD {
		err := unix.FsconfigSetFd(fs, key, fd)
		if err == nil {
			return true, nil
		}
		// Before 6.5 overlay has no mount API of its own: descriptors are
		// refused by the kernel's stand-in, which takes any string.
		if errors.Is(err, unix.EOPNOTSUPP) && key == "lowerdir+" {
			return false, ErrNoAppend
		}
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EBADF) {
			return true, explain(fs, fmt.Errorf("layer %s: %w", dir, err))
		}
	}
	// The path of a descriptor is short, whatever the path of the layer is.
	path := dir
	if len(path) > maxValue {
		path = fmt.Sprintf("/proc/self/fd/%d", fd)
	}
	err = unix.FsconfigSetString(fs, key, path)
	if errors.Is(err, unix.EINVAL) && key == "lowerdir+" {
		return false, ErrNoAppend
	}
	if err != nil {
		return false, explain(fs, fmt.Errorf("layer %s: %w", dir, err))
	}
	return false, nil
}
