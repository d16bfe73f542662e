// Package snapshot gives each container its own writable root on top of the
// read-only layers of its image. A driver prepares directories and never mounts;
// the shim makes the mount, detached from the host, from what Prepare returns.
//
// Overlay, the default, gives a container an upper directory: nothing is copied.
// Plain drivers give it a whole tree, for file systems that cannot hold an
// overlay's upper directory: vfs copies the image, btrfs takes a snapshot of a
// subvolume into which each image was copied once. Layers are directories with all
// of them.
//
// What is a container's own lies in its directory, containers/<id>. Remove takes
// that whole directory: one rename into trash/, then deletion in the background,
// which the next Open resumes after a crash. A container keeps the driver that it
// was made with, whatever the daemon's default is later.
package snapshot

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sampan-containers/sampan/fault"
)

// Mount is what a root file system is mounted from.
type Mount struct {
	Lower []string // top first; none with a plain driver
	// Upper is the directory of changes, or the whole root with a plain driver.
	Upper string
	Work  string
	// Driver and Base are set by a plain driver: its name, and the layers that the
	// root was copied from, top first.
	Driver string   `json:",omitempty"`
	Base   []string `json:",omitempty"`
}

// Plain tells whether Upper is the root itself.
func (m *Mount) Plain() bool { return len(m.Lower) == 0 && len(m.Base) > 0 }

// Image returns the layers of the image, top first.
func (m *Mount) Image() []string {
	if m.Plain() {
		return m.Base
	}
	return m.Lower
}

// Driver makes the writable layers of containers. It is safe for concurrent use,
// by one process.
type Driver interface {
	// Name is the driver's name, as Docker has it.
	Name() string
	// Dir returns containers/<id>, where the container's other files live too.
	Dir(containerID string) string
	// Prepare makes a container's root, or finds the one it made before.
	Prepare(ctx context.Context, containerID string, lowers []string) (Mount, error)
	// Limit lets what the container changes take so many bytes; see Overlay.
	Limit(ctx context.Context, containerID string, m Mount, bytes int64) error
	// Remove makes the container's directory disappear with everything in it. A
	// container without a directory is no error.
	Remove(ctx context.Context, containerID string) error
	// Usage returns the bytes of what the container has changed.
	Usage(ctx context.Context, containerID string) (int64, error)
	// Sweep removes the directories of containers that known does not know.
	Sweep(known func(containerID string) bool) error
	Wait()
	Close() error
}

// Copy copies what layers, top first, show together into an empty directory, but
// for the attributes of the root itself.
type Copy func(ctx context.Context, layers []string, dir string) error

// Check says what is wrong with the name of a driver, which may be empty.
func Check(name string) error {
	switch name {
	case "", "overlay2", "overlay", "vfs", "btrfs":
		return nil
	case "aufs":
		return fault.New(fault.Invalid, "storage driver aufs: Linux has no aufs (it was never merged, and Docker dropped it in version 24); leave the option out for overlay2")
	case "devicemapper":
		return fault.New(fault.Invalid, "storage driver devicemapper: Docker dropped it in version 25, and Sampan does not have it; leave the option out for overlay2, which limits by file system quotas instead")
	case "zfs", "fuse-overlayfs":
		return fault.New(fault.Invalid, "storage driver %s is not available in Sampan; use overlay2 (the default), btrfs or vfs", name)
	}
	return fault.New(fault.Invalid, "there is no storage driver %q; use overlay2 (the default), btrfs or vfs", name)
}

// Open makes a driver for the data root and resumes unfinished removals. copy is
// for the plain drivers.
func Open(root, name string, copy Copy) (Driver, error) {
	if err := Check(name); err != nil {
		return nil, err
	}
	o, err := openOverlay(root)
	if err != nil {
		return nil, err
	}
	var d Driver = o
	switch name {
	case "vfs":
		d = &Plain{Overlay: o, name: name, copy: copy}
	case "btrfs":
		d, err = openBtrfs(root, o, copy)
	}
	if name != "btrfs" && exists(filepath.Join(root, basesDir)) {
		// It was the driver once: what it keeps for images goes with them.
		_, err = openBtrfs(root, o, copy)
	}
	if err != nil {
		o.Close()
		return nil, err
	}
	return d, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
