// Package shm has what several containers share at /dev/shm: a tmpfs in the run
// directory of the container with --ipc shareable, of the size it asked for. It
// is the one mount on the host that a plain container may have: a tmpfs of a
// container's own mount namespace could not be given to another one. It goes with
// the run directory, also after a crash of the daemon.
package shm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const dirName = "shm"

// Path is where a run directory has its shared memory.
func Path(runDir string) string { return filepath.Join(runDir, dirName) }

// Make mounts the shared memory of a run, at most size bytes large.
func Make(runDir string, size int64) (string, error) {
	path := Path(runDir)
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", err
	}
	data := "mode=1777,size=" + strconv.FormatInt(size, 10)
	if err := unix.Mount("shm", path, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, data); err != nil {
		return "", fmt.Errorf("shared memory of %d bytes: mount a tmpfs at %s: %w", size, path, err)
	}
	return path, nil
}

// RemoveRun deletes a run directory; a missing one is no error. The tmpfs is
// detached, not emptied: a container that has joined it keeps its files.
func RemoveRun(runDir string) error {
	err := unix.Unmount(Path(runDir), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", Path(runDir), err)
	}
	return os.RemoveAll(runDir)
}
