package ocispec

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Mount is a mount the user asked for, its source resolved to a host path.
type Mount struct {
	Type        mount.Type // bind (also for volumes), tmpfs, or image
	Source      string
	Destination string
	ReadOnly    bool
	// Propagation is empty for rprivate.
	Propagation mount.Propagation
	// NonRecursive leaves out what is mounted below the source.
	NonRecursive bool
	// RecursiveReadOnly makes the mounts below a read-only bind read-only too.
	RecursiveReadOnly bool
	// IDMap shows owners through the container's id maps: its source holds the ids
	// that the container uses.
	IDMap bool
	// Layers are those of an image, top first; without them Source is a part of it.
	Layers []string
	// Options are mount options of a tmpfs.
	Options []string
}

// mounts puts the user's mounts over Docker's defaults: a user's mount replaces
// a default one at the same place, and one at /dev takes the defaults below it
// away as well. Parents come before their children.
func mounts(in *Input) []specs.Mount {
	user := slices.Clone(in.Mounts)
	slices.SortStableFunc(user, func(a, b Mount) int { return depth(a.Destination) - depth(b.Destination) })
	taken := map[string]bool{}
	for _, m := range user {
		taken[cleanTarget(m.Destination)] = true
	}
	var out []specs.Mount
	for _, m := range defaultMounts(in) {
		if taken[m.Destination] || taken["/dev"] && strings.HasPrefix(m.Destination, "/dev/") {
			continue
		}
		out = append(out, m)
	}
	if in.InitPath != "" {
		out = append(out, specs.Mount{Destination: initTarget, Type: "bind", Source: in.InitPath, Options: []string{"bind", "ro"}})
	}
	for _, m := range user {
		out = append(out, userMount(m))
	}
	return out
}

func depth(p string) int { return strings.Count(cleanTarget(p), "/") }

func defaultMounts(in *Input) []specs.Mount {
	hc := in.HostConfig
	access := "ro"
	if hc.Privileged {
		access = "rw"
	}
	out := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{access, "nosuid", "noexec", "nodev"}},
	}
	if !hc.IpcMode.IsNone() {
		out = append(out, specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}})
		out = append(out, shmMount(in))
	}
	return out
}

func shmMount(in *Input) specs.Mount {
	if in.ShmSource != "" {
		return specs.Mount{Destination: "/dev/shm", Type: "bind", Source: in.ShmSource,
			Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev"}}
	}
	size := in.HostConfig.ShmSize
	if size <= 0 {
		size = DefaultShmSize
	}
	return specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
		Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(size, 10)}}
}

func userMount(m Mount) specs.Mount {
	target := cleanTarget(m.Destination)
	if m.Type == mount.TypeTmpfs {
		options := slices.Concat([]string{"noexec", "nosuid", "nodev"}, m.Options)
		if m.ReadOnly {
			options = append(options, "ro")
		}
		return specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs", Options: options}
	}
	if len(m.Layers) > 0 {
		escape := strings.NewReplacer(`\`, `\\`, ":", `\:`)
		layers := make([]string, len(m.Layers))
		for i, dir := range m.Layers {
			layers[i] = escape.Replace(dir)
		}
		options := []string{"ro", "nosuid", "nodev", "lowerdir=" + strings.Join(layers, ":")}
		return specs.Mount{Destination: target, Type: "overlay", Source: "overlay", Options: options}
	}
	bind := "rbind"
	if m.NonRecursive {
		bind = "bind"
	}
	options := []string{bind}
	if m.ReadOnly {
		if m.RecursiveReadOnly && !m.NonRecursive {
			options = append(options, "rro")
		} else {
			options = append(options, "ro")
		}
	}
	if m.IDMap {
		options = append(options, "idmap")
	}
	propagation := m.Propagation
	if propagation == "" {
		propagation = mount.PropagationRPrivate
	}
	return specs.Mount{Destination: target, Type: "bind", Source: m.Source, Options: append(options, string(propagation))}
}

// rootPropagation lets mounts of the host reach the container where the user
// asked for it: the root must then be at least a slave of the host's.
func rootPropagation(user []Mount) string {
	propagation := ""
	for _, m := range user {
		switch m.Propagation {
		case mount.PropagationShared, mount.PropagationRShared:
			return "shared"
		case mount.PropagationSlave, mount.PropagationRSlave:
			propagation = "rslave"
		}
	}
	return propagation
}
