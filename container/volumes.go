package container

import (
	"context"
	"os"
	"slices"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/volume"
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
// has at its place. Until the container is recorded, a hold keeps it from a prune.
func (s *Service) resolveVolume(ctx context.Context, rec *Record, m *Mount) (fresh bool, err error) {
	v := volume.Volume{Name: m.Name, Labels: m.Labels, Options: m.VolumeOptions}
	if m.Name == "" {
		m.Name = request.NewID()
		v.Name, v.Anonymous = m.Name, true
		v.Labels = volume.AnonymousLabels(m.Labels)
	}
	m.Source = s.Volumes.Path(m.Name)
	s.Volumes.Hold(m.Name, rec.ID)
	if m.NoCopy || m.Subpath != "" {
		return s.Volumes.Ensure(v, nil)
	}
	return s.Volumes.Ensure(v, func(dir string) error { return rootview.Copy(ctx, rec.Root.Lower, m.Destination, dir) })
}

// letGo ends the holds of a create.
func (s *Service) letGo(rec *Record) {
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeVolume {
			s.Volumes.LetGo(m.Name, rec.ID)
		}
	}
}

// removeVolumes deletes volumes that no other container uses; those in use stay.
func (s *Service) removeVolumes(names []string) error {
	gone, err := s.Volumes.Remove(names, func(name string) bool { return len(s.VolumeUsers(name)) > 0 })
	for _, name := range gone {
		s.Events.Publish(notice.Volume(name, events.ActionDestroy))
	}
	return err
}

// VolumeUsers tells which containers, running or not, have a volume.
func (s *Service) VolumeUsers(name string) []string {
	var users []string
	for _, e := range s.all() {
		if slices.ContainsFunc(e.record().Mounts, func(m Mount) bool { return m.Type == mount.TypeVolume && m.Name == name }) {
			users = append(users, e.id)
		}
	}
	return users
}

// mountVolumes makes the volumes that are mounts of their own ready for a user.
func (s *Service) mountVolumes(ctx context.Context, rec *Record, user string) error {
	for _, m := range rec.Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		if err := s.Volumes.Mount(ctx, m.Name, user); err != nil {
			s.unmountVolumes(rec, user)
			return err
		}
	}
	return nil
}

// useVolumes notes what a container uses that ran before this daemon.
func (s *Service) useVolumes(rec *Record) {
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeVolume {
			s.Volumes.Use(m.Name, rec.ID)
		}
	}
}

func (s *Service) unmountVolumes(rec *Record, user string) {
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeVolume {
			if err := s.Volumes.Unmount(m.Name, user); err != nil {
				s.log.Error("unmount a volume", "volume", m.Name, "container", rec.ID, "error", err)
			}
		}
	}
}

// subpath opens the directory of a volume that a mount asks for; nil means the
// volume itself. Links are followed inside the volume (CVE-2017-1002101).
func subpath(m *Mount) (*os.File, error) {
	if m.Type != mount.TypeVolume || m.Subpath == "" {
		return nil, nil
	}
	root, err := inroot.Open(m.Source)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(m.Subpath, unix.O_PATH, 0)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot access path %s of volume %s: %w (create it in the volume first)", m.Subpath, m.Name, err)
	}
	return f, nil
}
