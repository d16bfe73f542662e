// Package volumes makes ready what containers mount: at a create, for a run or a
// copy, and at the removal. What a mount is, package mounts knows; the volumes
// themselves belong to package volume.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/notice"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/rootview"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/volume"
)

// Volumes are those of the containers of one index.
type Volumes struct {
	Local      *volume.Local
	Containers *index.Index
	Events     notice.Publisher
	Log        *slog.Logger
}

// Resolve makes what the mounts need on the host: missing directories of
// -v, volumes, and the image's content in a volume that is new. made tells which
// volumes to remove again when the create fails.
func (v *Volumes) Resolve(ctx context.Context, rec *record.Record) (made []string, err error) {
	for i := range rec.Mounts {
		m := &rec.Mounts[i]
		switch m.Type {
		case mount.TypeBind:
			err = mounts.MakeSource(m, rec.HostConfig.Mounts)
		case mount.TypeVolume:
			var fresh bool
			if fresh, err = v.resolve(ctx, rec, m); fresh {
				made = append(made, m.Name)
				v.Events.Publish(notice.Volume(m.Name, events.ActionCreate))
			}
		}
		if err != nil {
			return made, err
		}
	}
	return made, nil
}

// resolve finds or makes a volume; a new one begins with what the image
// has at its place. Until the container is recorded, a hold keeps it from a prune.
func (v *Volumes) resolve(ctx context.Context, rec *record.Record, m *mounts.Mount) (fresh bool, err error) {
	wanted := volume.Volume{Name: m.Name, Labels: m.Labels, Options: m.VolumeOptions}
	if m.Name == "" {
		m.Name = request.NewID()
		wanted.Name, wanted.Anonymous = m.Name, true
		wanted.Labels = volume.AnonymousLabels(m.Labels)
	}
	m.Source = v.Local.Path(m.Name)
	v.Local.Hold(m.Name, rec.ID)
	if m.NoCopy || m.Subpath != "" {
		if fresh, err = v.Local.Ensure(wanted, nil); err == nil && !m.NoCopy && len(m.VolumeOptions) == 0 {
			err = copyBelow(ctx, rec, m)
		}
		return fresh, err
	}
	return v.Local.Ensure(wanted, func(dir string) error { return rootview.Copy(ctx, rec.Root.Image(), m.Destination, dir) })
}

// copyBelow gives an empty directory of a volume what the image has at the place
// where it is mounted. One that does not exist is the start's to refuse.
func copyBelow(ctx context.Context, rec *record.Record, m *mounts.Mount) error {
	root, err := inroot.Open(m.Source)
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := root.Open(m.Subpath, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil
	}
	defer dir.Close()
	if names, err := dir.Readdirnames(1); len(names) > 0 || !errors.Is(err, io.EOF) {
		return nil
	}
	return rootview.Copy(ctx, rec.Root.Image(), m.Destination, fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// LetGo ends the holds of a create.
func (v *Volumes) LetGo(rec *record.Record) {
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeVolume {
			v.Local.LetGo(m.Name, rec.ID)
		}
	}
}

// Remove deletes volumes that no other container uses; those in use stay.
func (v *Volumes) Remove(names []string) error {
	gone, err := v.Local.Remove(names, func(name string) bool { return len(v.Users(name)) > 0 })
	for _, name := range gone {
		v.Events.Publish(notice.Volume(name, events.ActionDestroy))
	}
	return err
}

// Users tells which containers, running or not, have a volume.
func (v *Volumes) Users(name string) []string {
	var users []string
	for _, e := range v.Containers.All() {
		if slices.ContainsFunc(e.Record().Mounts, func(m mounts.Mount) bool { return m.Type == mount.TypeVolume && m.Name == name }) {
			users = append(users, e.ID)
		}
	}
	return users
}

// Mount makes the volumes that are mounts of their own ready for a user.
func (v *Volumes) Mount(ctx context.Context, rec *record.Record, user string) error {
	for _, m := range rec.Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		if err := v.Local.Mount(ctx, m.Name, user); err != nil {
			v.Unmount(rec, user)
			return err
		}
	}
	return nil
}

// Use notes what a container uses that ran before this daemon.
func (v *Volumes) Use(rec *record.Record) {
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeVolume {
			v.Local.Use(m.Name, rec.ID)
		}
	}
}

// Unmount ends what Mount did.
func (v *Volumes) Unmount(rec *record.Record, user string) {
	for _, m := range rec.Mounts {
		if m.Type == mount.TypeVolume {
			if err := v.Local.Unmount(m.Name, user); err != nil {
				v.Log.Error("unmount a volume", "volume", m.Name, "container", rec.ID, "error", err)
			}
		}
	}
}

// Subpath opens the directory of a volume that a mount asks for; nil means the
// volume itself. Links are followed inside the volume (CVE-2017-1002101).
func Subpath(m *mounts.Mount) (*os.File, error) {
	if m.Subpath == "" {
		return nil, nil
	}
	var root *inroot.Root
	var err error
	switch m.Type {
	case mount.TypeVolume:
		root, err = inroot.Open(m.Source)
	case mount.TypeImage:
		root, err = openImage(m)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(m.Subpath, unix.O_PATH, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			// Clients take "no such file or directory" for a missing program.
			err = errors.New("it does not exist")
		}
		advice := ""
		if m.Type == mount.TypeVolume {
			advice = " (create it in the volume first)"
		}
		return nil, fault.New(fault.Invalid, "cannot access path %s of %s %s: %w%s", m.Subpath, m.Type, m.Name, err, advice)
	}
	if m.Type == mount.TypeImage {
		return detach(m, f)
	}
	return f, nil
}
