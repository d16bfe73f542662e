package mounts

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/moby/moby/api/types/mount"
)

// MakeSource makes a missing source of -v on the host, as Docker does; --mount
// refuses it, unless one of asked, the request's mounts, wants it made.
func MakeSource(m *Mount, asked []mount.Mount) error {
	_, err := os.Stat(m.Source)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return invalid("bind source %s: %v", m.Source, err)
	}
	if m.FromMounts && !createsSource(m, asked) {
		return invalid(`invalid mount config for type "bind": bind source path does not exist: %s`, m.Source)
	}
	if err := os.MkdirAll(m.Source, 0o755); err != nil {
		return invalid("error while creating mount source path '%s': %v", m.Source, err)
	}
	return nil
}

func createsSource(m *Mount, asked []mount.Mount) bool {
	for _, in := range asked {
		if path.Clean(in.Target) == m.Destination && in.BindOptions != nil {
			return in.BindOptions.CreateMountpoint
		}
	}
	return false
}
