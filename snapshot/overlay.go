package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/quota"
	"github.com/sampan-containers/sampan/layer/tree"
)

const (
	dirMode  = 0o700
	upperDir = "upper"
	workDir  = "work"
	modeBits = 0o7777
)

// Overlay is the overlay driver. It is safe for concurrent use, by one process.
type Overlay struct {
	containers string
	trash      *tree.Bin
	limits     bool // the file system has project quotas in force
}

func openOverlay(root string) (*Overlay, error) {
	o := &Overlay{containers: filepath.Join(root, "containers")}
	if err := os.MkdirAll(o.containers, dirMode); err != nil {
		return nil, fmt.Errorf("make the containers' directory: %w", err)
	}
	var err error
	o.trash, err = tree.OpenBin(filepath.Join(root, "trash", "containers"), slog.Default())
	if err != nil {
		return nil, fmt.Errorf("resume removals: %w", err)
	}
	o.limits = quota.Probe(o.containers) == nil
	return o, nil
}

// Name is what Docker's users and tools call the driver.
func (o *Overlay) Name() string { return "overlay2" }

// Close waits until the background removal has stopped at a safe point.
func (o *Overlay) Close() error { return o.trash.Close() }

// Wait returns when the files of all removed containers are gone.
func (o *Overlay) Wait() { o.trash.Wait() }

// Dir returns containers/<id>, where the container's other files live too.
func (o *Overlay) Dir(containerID string) string { return filepath.Join(o.containers, containerID) }

// containerID keeps an ID from being a path.
var containerID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

func (o *Overlay) dir(id string) (string, error) {
	if !containerID.MatchString(id) {
		return "", fault.New(fault.Invalid, "%q is not a container ID", id)
	}
	return o.Dir(id), nil
}

// Prepare makes (if needed) containers/<id>/{upper,work} for a root on top of
// the lowers. It is idempotent: a prepared container keeps its upper.
func (o *Overlay) Prepare(ctx context.Context, id string, lowers []string) (Mount, error) {
	if err := ctx.Err(); err != nil {
		return Mount{}, err
	}
	dir, err := o.dir(id)
	if err != nil {
		return Mount{}, err
	}
	if len(lowers) == 0 {
		return Mount{}, fault.New(fault.Invalid, "container %s: an overlay needs at least one layer", id)
	}
	m := Mount{Lower: lowers, Upper: filepath.Join(dir, upperDir), Work: filepath.Join(dir, workDir)}
	if err := prepare(dir, m); err != nil {
		err = fmt.Errorf("prepare the root file system of container %s: %w", id, err)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = fault.Wrap(fault.Exhausted, err)
		}
		return Mount{}, err
	}
	return m, nil
}

func prepare(dir string, m Mount) error {
	for _, d := range []string{dir, m.Work} {
		if err := os.Mkdir(d, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if _, err := os.Lstat(m.Upper); err == nil {
		return nil
	}
	// The upper's own root is what "/" of the container shows, so it appears
	// with its owner and mode or not at all.
	unready := m.Upper + ".new"
	if err := os.Mkdir(unready, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := copyRoot(m.Lower[0], unready); err != nil {
		return err
	}
	return os.Rename(unready, m.Upper)
}

// copyRoot gives the directory to the owner and mode of from, which is a
// layer's top directory: made by layer, never a link.
func copyRoot(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &os.PathError{Op: "stat", Path: from, Err: err}
	}
	if st.Uid != 0 || st.Gid != 0 {
		if err := unix.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
			return &os.PathError{Op: "chown", Path: to, Err: err}
		}
	}
	if err := unix.Chmod(to, st.Mode&modeBits); err != nil {
		return &os.PathError{Op: "chmod", Path: to, Err: err}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimensat", Path: to, Err: err}
	}
	return nil
}

// Remove makes the container's directory disappear with everything in it
// (upper, work, logs, files) and deletes it in the background. A container
// without a directory is no error.
func (o *Overlay) Remove(_ context.Context, id string) error {
	dir, err := o.dir(id)
	if err != nil {
		return err
	}
	if err := o.release(filepath.Join(dir, upperDir)); err != nil {
		return err
	}
	return o.trash.Take(dir)
}

// Sweep removes the directories of containers that known does not know: what a
// crash between the container's record and its directory left.
func (o *Overlay) Sweep(known func(id string) bool) error {
	entries, err := os.ReadDir(o.containers)
	if err != nil {
		return fmt.Errorf("list the containers' directories: %w", err)
	}
	for _, e := range entries {
		if known(e.Name()) {
			continue
		}
		if err := o.release(filepath.Join(o.containers, e.Name(), upperDir)); err != nil {
			return err
		}
		if err := o.trash.Take(filepath.Join(o.containers, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Usage returns the bytes that the container's writable layer takes, as the
// sum of the regular files' sizes, hard links counted once.
func (o *Overlay) Usage(ctx context.Context, id string) (int64, error) {
	dir, err := o.dir(id)
	if err != nil {
		return 0, err
	}
	if plain := filepath.Join(dir, plainDir); exists(plain) {
		return usedBy(ctx, dir)
	}
	size, err := tree.Size(ctx, filepath.Join(dir, upperDir))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("measure the writable layer of container %s: %w", id, err)
	}
	return size, nil
}
