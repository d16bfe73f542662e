// Package snapshot gives each container its own writable layer over the
// read-only layers of its image. Overlay is the driver: it prepares the
// directories and never mounts; the shim makes the mount, detached from the
// host, from what Prepare returns.
//
// The writable layer lives in the container's directory, containers/<id>/
// {upper,work}. Remove takes that whole directory: one rename into trash/, then
// deletion in the background, which the next Open resumes after a crash.
package snapshot

import (
	"context"
	"errors"
)

// Mount is what a root file system is mounted from.
type Mount struct {
	Lower []string // top first
	Upper string
	Work  string
}

// Overlay is the overlay driver. It is safe for concurrent use, by one process.
type Overlay struct{}

// Open makes the driver for the data root and resumes unfinished removals.
func Open(root string) (*Overlay, error) { return nil, errors.New("being written") }

// Dir returns containers/<id>, where the container's other files live too.
func (o *Overlay) Dir(containerID string) string { return "" }

// Prepare makes (if needed) containers/<id>/{upper,work} for a root on top of
// the lowers. It is idempotent: a prepared container keeps its upper.
func (o *Overlay) Prepare(ctx context.Context, containerID string, lowers []string) (Mount, error) {
	return Mount{}, errors.New("being written")
}

// Remove makes the container's directory disappear with everything in it
// (upper, work, logs, files) and deletes it in the background. A container
// without a directory is no error.
func (o *Overlay) Remove(ctx context.Context, containerID string) error {
	return errors.New("being written")
}

// Usage returns the bytes that the container's writable layer takes, as the
// sum of the regular files' sizes, hard links counted once.
func (o *Overlay) Usage(ctx context.Context, containerID string) (int64, error) {
	return 0, errors.New("being written")
}

// Close waits until the background removal has stopped at a safe point.
func (o *Overlay) Close() error { return nil }
