package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
)

// localDriver is the only volume driver so far: a directory
// volumes/NAME/_data below the data root.
const localDriver = "local"

// stagePrefix marks a volume that is being filled; no name of a volume begins so.
const stagePrefix = ".new-"

var validVolume = regexp.MustCompile(`^` + namePattern + `+$`)

func checkVolumeName(name string) error {
	if len(name) == 1 {
		return invalid("create %s: volume name is too short, names should be at least two alphanumeric characters", name)
	}
	if !validVolume.MatchString(name) || len(name) > maxName {
		return invalid("create %s: %q includes invalid characters for a local volume name, only %q are allowed. If you intended to pass a host directory, use absolute path", name, name, namePattern)
	}
	return nil
}

func (s *Service) volumePath(name string) string {
	return filepath.Join(s.opts.DataRoot, "volumes", name, "_data")
}

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

// resolveVolume finds or makes a volume. The volume's directory appears by a
// rename once its content is whole, so that a crash leaves no half copy.
func (s *Service) resolveVolume(ctx context.Context, rec *Record, m *Mount) (fresh bool, err error) {
	if m.Name == "" {
		m.Name = newID()
	}
	m.Source = s.volumePath(m.Name)
	s.volumes.Lock()
	defer s.volumes.Unlock()
	if _, err := os.Stat(m.Source); err == nil {
		// An empty volume gets the image's content at its first use, whoever made it.
		if m.noCopy || !emptyDir(m.Source) {
			return false, nil
		}
		return false, s.copyUp(ctx, rec, m.Destination, m.Source)
	}
	dir := filepath.Dir(m.Source)
	stage := filepath.Join(filepath.Dir(dir), stagePrefix+m.Name)
	if err := os.RemoveAll(stage); err != nil {
		return false, fmt.Errorf("create volume %s: %w", m.Name, err)
	}
	data := filepath.Join(stage, "_data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return false, fmt.Errorf("create volume %s: %w", m.Name, err)
	}
	if !m.noCopy {
		err = s.copyUp(ctx, rec, m.Destination, data)
	}
	if err == nil {
		err = os.Rename(stage, dir)
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("create volume %s: %w", m.Name, err), os.RemoveAll(stage))
	}
	return true, nil
}

func emptyDir(path string) bool {
	d, err := os.Open(path)
	if err != nil {
		return false
	}
	defer d.Close()
	names, err := d.Readdirnames(1)
	return len(names) == 0 && err != nil
}

// copyUp copies what the image has at target into dir, an empty directory.
func (s *Service) copyUp(ctx context.Context, rec *Record, target, dir string) error {
	if !hasPath(rec.Root.Lower, target) {
		return nil
	}
	root, err := viewLayers(rec.Root.Lower)
	if err != nil {
		return err
	}
	defer root.Close()
	from, err := root.Sub(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copy %s of the image into the volume: %w", target, err)
	}
	defer from.Close()
	to, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	c := copier{from: from, to: to, links: map[inode]string{}}
	if err := c.directory(ctx, ".", 0); err != nil {
		return fmt.Errorf("copy %s of the image into the volume: %w", target, err)
	}
	return nil
}

// removeVolumes deletes volumes that no other container uses; those in use stay.
func (s *Service) removeVolumes(names []string) error {
	s.volumes.Lock()
	defer s.volumes.Unlock()
	var errs []error
	for _, n := range names {
		if s.volumeInUse(n) {
			continue
		}
		if err := os.RemoveAll(filepath.Dir(s.volumePath(n))); err != nil {
			errs = append(errs, fault.New(fault.Unavailable, "remove volume %s: %w", n, err))
		}
	}
	return errors.Join(errs...)
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

// anonymous lists the volumes that were made for this container alone.
func (r *Record) anonymous() []string {
	var names []string
	for _, m := range r.Mounts {
		if m.Type == mount.TypeVolume && m.Anonymous {
			names = append(names, m.Name)
		}
	}
	return names
}
