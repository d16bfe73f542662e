package snapshot

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/quota"
)

// Limit lets what the container changes take so many bytes; 0 is no limit. It comes
// after Prepare and before the first start. fault.NotImplemented says what the file
// system, or the driver, lacks.
func (o *Overlay) Limit(_ context.Context, containerID string, m Mount, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	if m.Plain() {
		return fault.New(fault.NotImplemented, "--storage-opt size is not available with the storage driver %s: it limits what an overlay's upper directory holds; use overlay2", m.Driver)
	}
	if !o.limits {
		return fault.New(fault.NotImplemented, "--storage-opt size is not available in %s: %w; limit what a container writes with volumes on file systems of their own, or --tmpfs PATH:size=SIZE", o.containers, quota.Probe(o.containers))
	}
	// The overlay renames from its work directory into the upper one, which the file
	// system refuses between projects (EXDEV).
	if err := quota.Limit(bytes, m.Upper, m.Work); err != nil {
		err = fmt.Errorf("limit the writable layer of container %s: %w", containerID, err)
		if errors.Is(err, unix.EPERM) {
			err = fault.Wrap(fault.Forbidden, err)
		}
		return err
	}
	return nil
}

// release gives the quota of a container's upper directory back.
func (o *Overlay) release(upper string) error {
	if !o.limits {
		return nil
	}
	return quota.Release(upper)
}
