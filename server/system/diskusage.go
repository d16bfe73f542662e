package system

import (
	"context"
	"net/http"
	"slices"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	api "github.com/moby/moby/api/types/volume"
	ours "github.com/sampan-containers/sampan/container"
	"github.com/sampan-containers/sampan/fault"
	images "github.com/sampan-containers/sampan/image"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
	volumeroutes "github.com/sampan-containers/sampan/server/volume"
)

// UsedContainers, UsedImages and the volumes are what df adds up.
type UsedContainers interface {
	List(ctx context.Context, o ours.ListOptions) ([]container.Summary, error)
	VolumeUsers(name string) []string
}

// UsedImages are the images for df.
type UsedImages interface {
	List(ctx context.Context, o images.ListOptions) ([]image.Summary, error)
	DiskUsage() (int64, error)
}

// usage is what df adds up.
type usage struct {
	containers UsedContainers
	images     UsedImages
	volumes    volumeroutes.Volumes
}

// RegisterUsage adds the route of df to s.
func RegisterUsage(s *server.Server, containers UsedContainers, images UsedImages, volumes volumeroutes.Volumes) {
	s.Handle("GET /system/df", usage{containers, images, volumes}.answer)
	// system prune of the stock client asks for this too. Build caches cannot be
	// made yet, so there is never one to remove.
	s.Handle("POST /build/prune", func(c *server.Call) error {
		return c.JSON(http.StatusOK, build.CachePruneReport{CachesDeleted: []string{}})
	})
}

var (
	typesSince   = server.V(1, 42)
	noCacheSince = server.V(1, 52) // the newest form alone
)

// legacyUsage is the answer below 1.52.
type legacyUsage struct {
	LayersSize  *int64              `json:",omitempty"`
	Images      any                 `json:",omitempty"`
	Containers  any                 `json:",omitempty"`
	Volumes     any                 `json:",omitempty"`
	BuildCache  []build.CacheRecord `json:",omitempty"`
	BuilderSize *int64              `json:",omitempty"`
}

func (u usage) answer(c *server.Call) error {
	want := map[string]bool{"container": true, "image": true, "volume": true, "build-cache": true}
	if types := c.Queries()["type"]; c.Version >= typesSince && len(types) > 0 {
		for _, t := range types {
			if !want[t] {
				return fault.New(fault.Invalid, "unknown object type: %s", t)
			}
		}
		for t := range want {
			want[t] = slices.Contains(types, t)
		}
	}
	out := system.DiskUsage{}
	var err error
	if want["container"] {
		if out.ContainerUsage, err = u.ofContainers(c.Context()); err != nil {
			return err
		}
	}
	if want["image"] {
		if out.ImageUsage, err = u.ofImages(c.Context()); err != nil {
			return err
		}
	}
	if want["volume"] {
		if out.VolumeUsage, err = u.ofVolumes(c.Context()); err != nil {
			return err
		}
	}
	if want["build-cache"] {
		out.BuildCacheUsage = &build.DiskUsage{}
	}
	if c.Version < noCacheSince {
		return c.JSON(http.StatusOK, legacy(c.Version, &out))
	}
	if !c.Bool("verbose") {
		if out.ContainerUsage != nil {
			out.ContainerUsage.Items = nil
		}
		if out.ImageUsage != nil {
			out.ImageUsage.Items = nil
		}
		if out.VolumeUsage != nil {
			out.VolumeUsage.Items = nil
		}
	}
	return c.JSON(http.StatusOK, out)
}

func legacy(v server.Version, out *system.DiskUsage) legacyUsage {
	var l legacyUsage
	if i := out.ImageUsage; i != nil {
		l.LayersSize, l.Images = &i.TotalSize, compat.Images(v, i.Items)
	}
	if c := out.ContainerUsage; c != nil {
		l.Containers = compat.Containers(v, c.Items)
	}
	if out.VolumeUsage != nil {
		l.Volumes = out.VolumeUsage.Items
	}
	if out.BuildCacheUsage != nil {
		l.BuildCache = []build.CacheRecord{}
		if v < typesSince {
			l.BuilderSize = new(int64)
		}
	}
	return l
}

func (u usage) ofContainers(ctx context.Context) (*container.DiskUsage, error) {
	list, err := u.containers.List(ctx, ours.ListOptions{All: true, Size: true})
	if err != nil {
		return nil, err
	}
	out := &container.DiskUsage{Items: list, TotalCount: int64(len(list))}
	for _, c := range list {
		out.TotalSize += c.SizeRw
		switch c.State {
		case container.StateRunning, container.StatePaused, container.StateRestarting:
			out.ActiveCount++
		default:
			out.Reclaimable += c.SizeRw
		}
	}
	return out, nil
}

func (u usage) ofImages(ctx context.Context) (*image.DiskUsage, error) {
	list, err := u.images.List(ctx, images.ListOptions{SharedSize: true})
	if err != nil {
		return nil, err
	}
	containers, err := u.containers.List(ctx, ours.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	users := map[string]int64{}
	for _, c := range containers {
		users[c.ImageID]++
	}
	out := &image.DiskUsage{Items: list, TotalCount: int64(len(list))}
	if out.TotalSize, err = u.images.DiskUsage(); err != nil {
		return nil, err
	}
	var used int64
	for i := range list {
		list[i].Containers = users[list[i].ID]
		if list[i].Containers == 0 {
			continue
		}
		out.ActiveCount++
		if shared := list[i].SharedSize; shared >= 0 {
			used += list[i].Size - shared
		}
	}
	out.Reclaimable = max(out.TotalSize-used, 0)
	return out, nil
}

func (u usage) ofVolumes(ctx context.Context) (*api.DiskUsage, error) {
	out := &api.DiskUsage{Items: []api.Volume{}}
	for _, v := range u.volumes.List() {
		size, err := u.volumes.Size(ctx, v.Name)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue // it was removed meanwhile
		}
		one := volumeroutes.View(v, u.volumes.Path(v.Name))
		one.UsageData = &api.UsageData{Size: size, RefCount: int64(len(u.containers.VolumeUsers(v.Name)))}
		out.Items = append(out.Items, one)
		out.TotalCount++
		if size > 0 {
			out.TotalSize += size
		}
		if one.UsageData.RefCount > 0 {
			out.ActiveCount++
		} else if size > 0 {
			out.Reclaimable += size
		}
	}
	return out, nil
}
