package container

import (
	"context"
	"slices"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/notice"
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
			err = mounts.MakeSource(m, rec.HostConfig.Mounts)
		case mount.TypeVolume:
			var fresh bool
			if fresh, err = s.resolveVolume(ctx, rec, m); fresh {
				made = append(made, m.Name)
				s.Events.Publish(notice.Volume(m.Name, events.ActionCreate))
			}
		}
		if err != nil {
			return made, err
		}
	}
	return made, nil
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
		s.Events.Publish(notice.Volume(name, events.ActionDestroy))
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
