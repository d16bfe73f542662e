package cdi

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/fault"
)

// Apply puts the devices of the requests into a container's specification.
func Apply(s *specs.Spec, requests []container.DeviceRequest, dirs []string, host ocispec.Host) error {
	if len(requests) == 0 {
		return nil
	}
	all, err := Load(dirs)
	if err != nil {
		return err
	}
	devices, err := Select(all, requests, dirs)
	if err != nil {
		return err
	}
	var done []*Spec
	for _, c := range devices {
		if !slices.Contains(done, c.spec) {
			done = append(done, c.spec)
			if err := c.spec.Edits.apply(s, host); err != nil {
				return err
			}
		}
		if err := c.device.Edits.apply(s, host); err != nil {
			return err
		}
	}
	return nil
}

func (e *Edits) apply(s *specs.Spec, host ocispec.Host) error {
	for _, v := range e.Env {
		name, _, _ := strings.Cut(v, "=")
		s.Process.Env = slices.DeleteFunc(s.Process.Env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		s.Process.Env = append(s.Process.Env, v)
	}
	for i := range e.DeviceNodes {
		if err := e.DeviceNodes[i].apply(s, host); err != nil {
			return err
		}
	}
	for _, m := range e.Mounts {
		kind, options := m.Type, m.Options
		if kind == "" {
			kind = "bind"
		}
		if kind == "bind" && !slices.Contains(options, "bind") && !slices.Contains(options, "rbind") {
			options = append([]string{"rbind"}, options...)
		}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: path.Clean(m.ContainerPath), Source: m.HostPath, Type: kind, Options: options})
	}
	for _, gid := range e.AdditionalGIDs {
		if gid != 0 && !slices.Contains(s.Process.User.AdditionalGids, gid) {
			s.Process.User.AdditionalGids = append(s.Process.User.AdditionalGids, gid)
		}
	}
	for _, h := range e.Hooks {
		h.apply(s)
	}
	return nil
}

func (n *DeviceNode) apply(s *specs.Spec, host ocispec.Host) error {
	from := n.HostPath
	if from == "" {
		from = n.Path
	}
	d := specs.LinuxDevice{Path: path.Clean(n.Path), Type: n.Type, Major: n.Major, Minor: n.Minor}
	if n.FileMode != nil {
		mode := os.FileMode(*n.FileMode)
		d.FileMode = &mode
	}
	d.UID, d.GID = n.UID, n.GID
	if d.Type == "" || d.Type != "p" && d.Major == 0 {
		there, err := host.Device(from)
		if err != nil {
			return fault.New(fault.Invalid, "CDI device injection failed: device node %s: %v (is the driver loaded? make the specification again)", from, err)
		}
		d.Type, d.Major, d.Minor = there.Type, there.Major, there.Minor
		if d.FileMode == nil {
			d.FileMode = there.FileMode
		}
		if d.UID == nil {
			d.UID = there.UID
		}
		if d.GID == nil {
			d.GID = there.GID
		}
	}
	s.Linux.Devices = slices.DeleteFunc(s.Linux.Devices, func(old specs.LinuxDevice) bool { return old.Path == d.Path })
	s.Linux.Devices = append(s.Linux.Devices, d)
	if d.Type == "b" || d.Type == "c" {
		access := n.Permissions
		if access == "" {
			access = "rwm"
		}
		major, minor := d.Major, d.Minor
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices,
			specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: access})
	}
	return nil
}

func (h *Hook) apply(s *specs.Spec) {
	if s.Hooks == nil {
		s.Hooks = &specs.Hooks{}
	}
	hook := specs.Hook{Path: h.Path, Args: h.Args, Env: h.Env, Timeout: h.Timeout}
	//lint:ignore SA1019 prestart is deprecated, and vendors' tools still use it.
	prestart := &s.Hooks.Prestart
	to := map[string]*[]specs.Hook{
		"prestart": prestart, "createRuntime": &s.Hooks.CreateRuntime, "createContainer": &s.Hooks.CreateContainer,
		"startContainer": &s.Hooks.StartContainer, "poststart": &s.Hooks.Poststart, "poststop": &s.Hooks.Poststop,
	}[h.Name]
	*to = append(*to, hook)
}
