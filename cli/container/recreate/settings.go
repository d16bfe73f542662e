package recreate

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// fromImage is what an image sets in its containers.
func fromImage(i *dockerspec.DockerOCIImageConfig) *container.Config {
	return &container.Config{
		User: i.User, Env: i.Env, Cmd: i.Cmd, Entrypoint: i.Entrypoint, WorkingDir: i.WorkingDir, StopSignal: i.StopSignal,
		Labels: i.Labels, Volumes: i.Volumes, Healthcheck: i.Healthcheck,
	}
}

// own takes away from the settings of a container what is its image's, and its id's: the
// new one gets those of its own.
func own(have, image *container.Config, id string) *container.Config {
	c := *have
	if strings.HasPrefix(id, c.Hostname) {
		c.Hostname = ""
	}
	if c.User == image.User {
		c.User = ""
	}
	if c.WorkingDir == image.WorkingDir {
		c.WorkingDir = ""
	}
	if c.StopSignal == image.StopSignal {
		c.StopSignal = ""
	}
	if slices.Equal(c.Entrypoint, image.Entrypoint) {
		c.Entrypoint = nil
		if slices.Equal(c.Cmd, image.Cmd) {
			c.Cmd = nil
		}
	}
	if reflect.DeepEqual(c.Healthcheck, image.Healthcheck) {
		c.Healthcheck = nil
	}
	c.Env = slices.DeleteFunc(slices.Clone(have.Env), func(kv string) bool { return slices.Contains(image.Env, kv) })
	c.Labels = maps.Clone(have.Labels)
	maps.DeleteFunc(c.Labels, func(k, v string) bool { was, ok := image.Labels[k]; return ok && was == v })
	c.Volumes = maps.Clone(have.Volumes)
	maps.DeleteFunc(c.Volumes, func(k string, _ struct{}) bool { _, ok := image.Volumes[k]; return ok })
	return &c
}

// keepVolumes names the volumes that were made for the container, so that the new one
// gets them and no empty ones.
func keepVolumes(hc *container.HostConfig, mounts []container.MountPoint) {
	hc.Mounts = slices.Clone(hc.Mounts)
	hc.Binds = slices.Clone(hc.Binds)
	for i := range mounts {
		m := &mounts[i]
		if m.Type != mount.TypeVolume || m.Name == "" || slices.ContainsFunc(hc.Binds, func(b string) bool { return destination(b) == m.Destination }) {
			continue
		}
		at := slices.IndexFunc(hc.Mounts, func(x mount.Mount) bool { return x.Target == m.Destination })
		if at >= 0 {
			hc.Mounts[at].Source = m.Name
			continue
		}
		hc.Mounts = append(hc.Mounts, mount.Mount{Type: mount.TypeVolume, Source: m.Name, Target: m.Destination, ReadOnly: !m.RW})
	}
	hc.VolumesFrom = nil // they are in the list of mounts
}

// destination is where SOURCE:DESTINATION[:OPTIONS] is mounted.
func destination(bind string) string {
	parts := strings.Split(bind, ":")
	if len(parts) == 1 {
		return parts[0]
	}
	return parts[1]
}

// apply makes the changes that were asked for.
func (ch *change) apply(c *container.Config, hc *container.HostConfig) {
	name := func(kv string) string { n, _, _ := strings.Cut(kv, "="); return n }
	for _, kv := range ch.set {
		c.Env = slices.DeleteFunc(c.Env, func(have string) bool { return name(have) == name(kv) })
		c.Env = append(c.Env, kv)
	}
	c.Env = slices.DeleteFunc(c.Env, func(have string) bool { return slices.Contains(ch.dropEnv, name(have)) })
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	maps.Copy(c.Labels, ch.labelled)
	maps.DeleteFunc(c.Labels, func(k, _ string) bool { return slices.Contains(ch.dropLabels, k) })
	gone := slices.Clone(ch.dropMounts)
	for _, b := range ch.binds {
		gone = append(gone, destination(b))
	}
	hc.Binds = slices.DeleteFunc(hc.Binds, func(b string) bool { return slices.Contains(gone, destination(b)) })
	hc.Mounts = slices.DeleteFunc(hc.Mounts, func(m mount.Mount) bool { return slices.Contains(gone, m.Target) })
	maps.DeleteFunc(c.Volumes, func(k string, _ struct{}) bool { return slices.Contains(gone, k) })
	hc.Binds = append(hc.Binds, ch.binds...)
}

// endpoints asks for the networks that the old container is in, with what was asked for
// in each.
func endpoints(old *container.InspectResponse) *network.NetworkingConfig {
	if old.NetworkSettings == nil || old.HostConfig.NetworkMode.IsContainer() || len(old.NetworkSettings.Networks) == 0 {
		return nil
	}
	out := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	for name, e := range old.NetworkSettings.Networks {
		if e == nil {
			continue
		}
		aliases := slices.DeleteFunc(slices.Clone(e.Aliases), func(a string) bool { return strings.HasPrefix(old.ID, a) })
		out.EndpointsConfig[name] = &network.EndpointSettings{
			IPAMConfig: e.IPAMConfig, Links: e.Links, Aliases: aliases, DriverOpts: e.DriverOpts, GwPriority: e.GwPriority,
		}
	}
	return out
}
