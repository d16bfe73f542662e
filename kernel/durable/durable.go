// Package durable makes what was written survive a power cut. A file that must be whole
// or absent is written beside its place and synced, renamed, and then its directory is
// synced: without that the rename may be lost.
package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// SyncDir makes the names in a directory durable: files made, renamed and removed. The
// contents of files are not its matter.
func SyncDir(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}
