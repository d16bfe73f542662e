// Package volume serves the Engine API's /volumes routes.
package volume

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/volume"
	"github.com/sampan-containers/sampan/event/filter"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/volume"
)

// Volumes is what the routes need of the volumes; *volume.Local is one.
type Volumes interface {
	Get(name string) (*volume.Volume, error)
	List() []*volume.Volume
	Ensure(v volume.Volume, fill func(dir string) error) (fresh bool, err error)
	Remove(names []string, inUse func(name string) bool) (gone []string, err error)
	Path(name string) string
	Size(ctx context.Context, name string) (int64, error)
	Deriver
}

// Containers tells who uses a volume.
type Containers interface{ VolumeUsers(name string) []string }

// Publisher takes the events of volumes; *event.Bus is one.
type Publisher interface{ Publish(events.Message) }

type routes struct {
	volumes    Volumes
	containers Containers
	events     Publisher
}

// Register adds the routes to s.
func Register(s *server.Server, volumes Volumes, containers Containers, events Publisher) {
	r := routes{volumes, containers, events}
	s.Handle("GET /volumes", r.list)
	s.Handle("GET /volumes/{name}", r.inspect)
	s.Handle("POST /volumes/create", r.create)
	s.Handle("DELETE /volumes/{name}", r.remove)
	s.Handle("POST /volumes/prune", r.prune)
	r.registerDerived(s)
}

// View is a volume in the form of the API.
func View(v *volume.Volume, path string) api.Volume {
	return api.Volume{
		Name: v.Name, Driver: volume.LocalDriver, Mountpoint: path, Scope: "local",
		CreatedAt: v.Created.Format(time.RFC3339), Labels: v.Labels, Options: v.Options,
	}
}

func (r routes) publish(action events.Action, name string, attributes map[string]string) {
	r.events.Publish(events.Message{Type: events.VolumeEventType, Action: action, Actor: events.Actor{ID: name, Attributes: attributes}})
}

func (r routes) list(c *server.Call) error {
	f, err := c.Filters("dangling", "driver", "label", "name")
	if err != nil {
		return err
	}
	dangling, err := f.Bool("dangling", false)
	if err != nil {
		return err
	}
	out := api.ListResponse{Volumes: []api.Volume{}, Warnings: nil}
	for _, v := range r.volumes.List() {
		if !f.Labels("label", v.Labels) || f.Has("name") && !f.Match("name", v.Name) || f.Has("driver") && !slices.Contains(f.Get("driver"), volume.LocalDriver) {
			continue
		}
		if f.Has("dangling") && (len(r.containers.VolumeUsers(v.Name)) == 0) != dangling {
			continue
		}
		out.Volumes = append(out.Volumes, View(v, r.volumes.Path(v.Name)))
	}
	return c.JSON(http.StatusOK, out)
}

func (r routes) inspect(c *server.Call) error {
	v, err := r.volumes.Get(c.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, View(v, r.volumes.Path(v.Name)))
}

func (r routes) create(c *server.Call) error {
	var body api.CreateRequest
	if err := c.Decode(&body); err != nil {
		return err
	}
	if body.ClusterVolumeSpec != nil {
		return fault.New(fault.NotImplemented, "cluster volumes are not available yet")
	}
	if body.Driver != "" && body.Driver != volume.LocalDriver {
		return fault.New(fault.NotFound, "create %s: error looking up volume plugin %s: plugin %q not found (use local)", body.Name, body.Driver, body.Driver)
	}
	v := volume.Volume{Name: body.Name, Labels: body.Labels, Options: body.DriverOpts}
	if v.Name == "" {
		var raw [32]byte
		_, _ = rand.Read(raw[:])
		v.Name, v.Anonymous = hex.EncodeToString(raw[:]), true
		v.Labels = volume.AnonymousLabels(v.Labels)
	}
	fresh, err := r.volumes.Ensure(v, nil)
	if err != nil {
		return err
	}
	if fresh {
		r.publish(events.ActionCreate, v.Name, map[string]string{"driver": volume.LocalDriver})
	}
	made, err := r.volumes.Get(v.Name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, View(made, r.volumes.Path(made.Name)))
}

func (r routes) remove(c *server.Call) error {
	if _, err := r.volumes.Get(c.Name); err != nil {
		if c.Bool("force") {
			return c.NoContent()
		}
		return err
	}
	users := func() error {
		if list := r.containers.VolumeUsers(c.Name); len(list) > 0 {
			return fault.New(fault.Conflict, "remove %s: volume is in use - %v", c.Name, list)
		}
		return nil
	}
	if err := users(); err != nil {
		return err
	}
	gone, err := r.volumes.Remove([]string{c.Name}, r.used)
	if err != nil {
		return err
	}
	if len(gone) == 0 {
		if err := users(); err != nil {
			return err
		}
		if _, err := r.volumes.Get(c.Name); err == nil {
			return fault.New(fault.Conflict, "remove %s: volume is in use by a container that is being made, or by a copy", c.Name)
		}
		return c.NoContent() // somebody else removed it
	}
	r.publish(events.ActionDestroy, c.Name, map[string]string{"driver": volume.LocalDriver})
	return c.NoContent()
}

func (r routes) used(name string) bool { return len(r.containers.VolumeUsers(name)) > 0 }

// anonymousSince is the version in which a prune spares named volumes.
var anonymousSince = server.V(1, 42)

func (r routes) prune(c *server.Call) error {
	f, err := c.Filters("label", "label!", "all", "dry-run")
	if err != nil {
		return err
	}
	all, err := f.Bool("all", c.Version < anonymousSince)
	if err != nil {
		return err
	}
	dry, err := f.Bool("dry-run", false)
	if err != nil {
		return err
	}
	report := api.PruneReport{VolumesDeleted: []string{}}
	for _, v := range r.volumes.List() {
		if c.Context().Err() != nil {
			break
		}
		// One with options is a mount of something that is not ours to delete.
		if !all && !v.Anonymous || v.Mounts() || !selected(f, v.Labels) || r.used(v.Name) {
			continue
		}
		size, err := r.volumes.Size(c.Context(), v.Name)
		if err != nil {
			size = 0 // it went meanwhile
		}
		if dry {
			report.VolumesDeleted = append(report.VolumesDeleted, v.Name)
			report.SpaceReclaimed += uint64(max(size, 0))
			continue
		}
		gone, err := r.volumes.Remove([]string{v.Name}, r.used)
		if err != nil {
			return fmt.Errorf("prune: %w", err)
		}
		if len(gone) == 0 {
			continue
		}
		report.VolumesDeleted = append(report.VolumesDeleted, v.Name)
		report.SpaceReclaimed += uint64(max(size, 0))
		r.publish(events.ActionDestroy, v.Name, map[string]string{"driver": volume.LocalDriver})
	}
	if dry {
		return c.JSON(http.StatusOK, report)
	}
	r.publish(events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return c.JSON(http.StatusOK, report)
}

// selected applies label and label!, as every prune does.
func selected(f filter.Args, labels map[string]string) bool {
	if labels == nil {
		labels = map[string]string{}
	}
	return f.Labels("label", maps.Clone(labels)) && !(f.Has("label!") && f.Labels("label!", labels))
}
