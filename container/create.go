package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/bootorder"
	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/links"
	"github.com/sampan-containers/sampan/container/membership"
	"github.com/sampan-containers/sampan/container/mounts"
	"github.com/sampan-containers/sampan/container/record"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/undo"
	"github.com/sampan-containers/sampan/container/volumes"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/image"
)

// Announce lets a shim come up for a container that Create is going to make with
// the id it returns, and that a start follows at once. Without them it goes again
// by itself.
func (s *Service) Announce() (id string) {
	id = request.NewID()
	s.Supervisor.Prepare(id, true)
	return id
}

// Create makes a container and returns its id and warnings. A refused request
// is fault.Invalid, an unknown image (and nothing else) fault.NotFound, a taken
// name fault.Conflict; nothing is left behind then.
func (s *Service) Create(ctx context.Context, o CreateOptions) (id string, warnings []string, err error) {
	if o.Config == nil {
		return "", nil, invalid("config cannot be empty in order to create a container")
	}
	if o.HostConfig == nil {
		o.HostConfig = &container.HostConfig{}
	}
	if o.Name != "" {
		if err := request.CheckName(o.Name); err != nil {
			return "", nil, err
		}
		o.Name = strings.TrimPrefix(o.Name, "/")
	}
	if err := s.defaults.Load().Check(o.Config, o.HostConfig); err != nil {
		return "", nil, err
	}
	if o.ID == "" {
		o.ID = request.NewID()
	}
	defer func() {
		if err != nil {
			s.Supervisor.Dismiss(o.ID)
		}
	}()
	img, err := s.image(ctx, o)
	if err != nil {
		return "", nil, err
	}
	rec, warnings, err := s.compose(o, img)
	if err != nil {
		return "", nil, aboutRequest(err)
	}
	if err := volumes.FindImages(ctx, s.Images, rec.Mounts); err != nil {
		return "", nil, aboutRequest(err)
	}
	lowers, err := s.Images.Lowers(img)
	if err != nil {
		return "", nil, err
	}
	if rec.HostConfig.AutoRemove && rec.Config.AttachStdout {
		// This is `run --rm`: nobody creates such a container and starts it later.
		s.Supervisor.Prepare(rec.ID, false)
	}
	if err := s.build(ctx, rec, o.Name, lowers); err != nil {
		return "", nil, err
	}
	s.event(rec, events.ActionCreate, nil)
	return rec.ID, warnings, nil
}

// aboutRequest keeps "not found" for the image alone: a client that hears it
// pulls the image and tries again, which is no answer to a network or another
// container that does not exist.
func aboutRequest(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.Invalid, "%s", err)
	}
	return err
}

func (s *Service) image(ctx context.Context, o CreateOptions) (*image.Image, error) {
	if o.Config.Image == "" {
		return nil, invalid("no image specified")
	}
	img, err := s.Images.Get(ctx, o.Config.Image)
	if err != nil {
		return nil, err
	}
	if o.Platform != "" && !request.SamePlatform(o.Platform, img.Config) {
		// The client pulls the right variant when it hears that there is none.
		return nil, fault.New(fault.NotFound, "image with reference %s was found but does not match the specified platform: wanted %s, actual: %s/%s",
			o.Config.Image, o.Platform, img.Config.OS, img.Config.Architecture)
	}
	return img, nil
}

// compose makes the record of a request. Nothing outside of memory changes.
func (s *Service) compose(o CreateOptions, img *image.Image) (*Record, []string, error) {
	c, hc := o.Config, o.HostConfig
	var warnings []string
	// Before the image's labels join: an image must not steer the engine (CVE-2024-3154).
	action, err := health.ParseAction(c.Labels)
	if err != nil {
		return nil, nil, err
	}
	after, err := bootorder.Parse(c.Labels)
	if err != nil {
		return nil, nil, err
	}
	if err := request.MergeImage(c, &img.Config.Config); err != nil {
		return nil, nil, err
	}
	if err := request.CheckConfig(c); err != nil {
		return nil, nil, err
	}
	rec := &Record{ID: o.ID, Created: time.Now().UTC(), ImageID: img.ID.String(), Platform: img.Config.OS, Config: c, HostConfig: hc, BaseSize: img.Size,
		HealthAction: action, After: after}
	if rec.Platform == "" {
		rec.Platform = "linux"
	}
	if rec.Path, rec.Args, err = request.Command(c); err != nil {
		return nil, nil, err
	}
	if rec.Mounts, err = mounts.Collect(c, hc, s.mountsOf, o.ShallowReadOnly); err != nil {
		return nil, nil, err
	}
	rec.DefaultNetwork = hc.NetworkMode == "" || hc.NetworkMode.IsDefault()
	s.defaults.Load().Normalize(hc)
	warnings = append(warnings, s.defaults.Load().Degrade(hc)...)
	if err := errors.Join(s.joinable(hc), links.Resolve(s.containers, hc)); err != nil {
		return nil, nil, err
	}
	s.hostname(rec.ID, c, hc)
	if rec.Endpoints, err = s.endpoints(hc, o.NetworkingConfig); err != nil {
		return nil, nil, err
	}
	rec.State.Status, rec.State.Cgroup = container.StateCreated, s.paths.NextCgroup(rec)
	if _, err := request.LogConfig(rec, ""); err != nil {
		return nil, nil, err
	}
	if n := rec.Size(); n > record.MaxSize {
		return nil, nil, invalid("the container's configuration has %d bytes, more than the limit of %d", n, record.MaxSize)
	}
	return rec, warnings, nil
}

// endpoints checks the networks asked for.
func (s *Service) endpoints(hc *container.HostConfig, nc *mobynet.NetworkingConfig) (map[string]*mobynet.EndpointSettings, error) {
	mode := hc.NetworkMode
	if mode.IsContainer() {
		other, err := s.containers.Find(mode.ConnectedContainer())
		if err != nil {
			return nil, err
		}
		hc.NetworkMode = container.NetworkMode("container:" + other.ID)
		return nil, nil
	}
	return membership.Wanted(hc, nc, s.Networks)
}

// build makes the container on disk. Its steps, each with its undo: reserve the
// name, prepare the layer, make the directories, resolve mounts, record.
func (s *Service) build(ctx context.Context, rec *Record, name string, lowers []string) (err error) {
	var undo undo.Stack
	defer func() {
		if err != nil {
			err = errors.Join(err, undo.Run())
		}
	}()
	if rec.Name, err = s.containers.Reserve(name, rec.ID); err != nil {
		return err
	}
	undo.Push(func() error { s.containers.Unreserve(rec.Name, rec.ID); return nil })

	undo.Push(func() error { return s.Snapshots.Remove(context.WithoutCancel(ctx), rec.ID) })
	if rec.Root, err = s.Snapshots.Prepare(ctx, rec.ID, lowers); err != nil {
		return err
	}
	if err := s.Snapshots.Limit(ctx, rec.ID, rec.Root, request.StorageSize(rec.HostConfig)); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.paths.DataDir(rec.ID), "log"), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	made, err := s.volumes.Resolve(ctx, rec)
	defer s.volumes.LetGo(rec)
	undo.Push(func() error { s.volumes.LetGo(rec); return s.volumes.Remove(made) })
	if err != nil {
		return err
	}
	return s.containers.Add(rec)
}

// hostname chooses the name a container sees as its own.
func (s *Service) hostname(id string, c *container.Config, hc *container.HostConfig) {
	switch {
	case c.Hostname != "":
	case hc.NetworkMode.IsHost():
		c.Hostname, _ = os.Hostname()
	case hc.NetworkMode.IsContainer():
		if e, err := s.containers.Find(hc.NetworkMode.ConnectedContainer()); err == nil {
			c.Hostname = e.Record().Config.Hostname
			c.Domainname = e.Record().Config.Domainname
		}
	default:
		c.Hostname = id[:request.ShortID]
	}
}

// joinable finds the containers whose PID and IPC namespaces are joined, whose
// names may pass to others.
func (s *Service) joinable(hc *container.HostConfig) error {
	if hc.PidMode.IsContainer() {
		other, err := s.containers.Find(hc.PidMode.Container())
		if err != nil {
			return err
		}
		hc.PidMode = container.PidMode("container:" + other.ID)
	}
	if !hc.IpcMode.IsContainer() {
		return nil
	}
	other, err := s.containers.Find(hc.IpcMode.Container())
	if err != nil {
		return err
	}
	hc.IpcMode = container.IpcMode("container:" + other.ID)
	return nil
}

// mountsOf returns another container's mounts for --volumes-from.
func (s *Service) mountsOf(ref string) ([]Mount, error) {
	e, err := s.containers.Find(ref)
	if err != nil {
		return nil, err
	}
	return e.Record().DataMounts(), nil
}
