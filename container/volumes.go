package container

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
)

// resolveMounts makes what the mounts need on the host: missing directories of
// -v, volumes, and the image's content in a volume that is new. made tells which
// volumes to remove again when the create fails.
func (s *Service) resolveMounts(ctx context.Context, rec *Record) (made []string, err error) {
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		switch m.Type {
		case mount.TypeBind:
			err = s.resolveBind(rec, m)
		case mount.TypeVolume:
			var fresh bool
			if fresh, err = s.resolveVolume(ctx, rec, m); fresh {
				made = append(made, m.Name)
				s.volumeEvent(m.Name, events.ActionCreate, map[string]string{})
			}
		}
		if err != nil {
			return made, err
		}
	}
	return made, nil
}

// resolveBind makes a missing source of -v, as Docker does; --mount refuses it.
func (s *Service) resolveBind(rec *Record, m *Mount) error {
	_, err := os.Stat(m.Source)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return invalid("bind source %s: %v", m.Source, err)
	}
	if m.FromMounts && !createsSource(rec, m) {
		return invalid(`invalid mount config for type "bind": bind source path does not exist: %s`, m.Source)
	}
	if err := os.MkdirAll(m.Source, 0o755); err != nil {
		return invalid("error while creating mount source path '%s': %v", m.Source, err)
	}
	return nil
}

func createsSource(rec *Record, m *Mount) bool {
	for _, in := range rec.HostConfig.Mounts {
		if filepath.Clean(in.Target) == m.Destination && in.BindOptions != nil {
			return in.BindOptions.CreateMountpoint
		}
	}
	return false
}

// resolveVolume finds or makes a volume; a new one begins with what the image
// has at its place.
func (s *Service) resolveVolume(ctx context.Context, rec *Record, m *Mount) (fresh bool, err error) {
	if m.Name == "" {
		m.Name = request.NewID()
	}
	m.Source = s.Volumes.Path(m.Name)
	if m.NoCopy {
		return s.Volumes.Ensure(m.Name, nil)
	}
	return s.Volumes.Ensure(m.Name, func(dir string) error { return rootview.Copy(ctx, rec.Root.Lower, m.Destination, dir) })
}

// removeVolumes deletes volumes that no other container uses; those in use stay.
func (s *Service) removeVolumes(names []string) error {
	unused := slices.DeleteFunc(slices.Clone(names), s.volumeInUse)
	if err := s.Volumes.Remove(unused, s.volumeInUse); err != nil {
		return err
	}
	for _, name := range unused {
		s.volumeEvent(name, events.ActionDestroy, map[string]string{})
	}
	return nil
}

func (s *Service) volumeInUse(name string) bool {
	for _, e := range s.all() {
		for _, m := range e.record().Mounts {
			if m.Type == mount.TypeVolume && m.Name == name {
				return true
			}
		}
	}
	return false
}
