package container

import (
	"fmt"
	"slices"
	"strings"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/server"
	"golang.org/x/sys/unix"
)

var (
	v1_25 = server.V(1, 25)
	v1_40 = server.V(1, 40)
	v1_41 = server.V(1, 41)
	v1_42 = server.V(1, 42)
	v1_43 = server.V(1, 43)
	v1_44 = server.V(1, 44)
	v1_45 = server.V(1, 45)
	v1_48 = server.V(1, 48)
	v1_52 = server.V(1, 52)
	v1_56 = server.V(1, 56)
)

// upgrades says what a request of an older version means today. A client could
// not know a field that is newer than its version, so such a field is dropped,
// or refused where dropping it would weaken what the user asked for.
var upgrades = []struct {
	below server.Version
	apply func(*createBody) error
}{
	{v1_56, func(b *createBody) error { b.HostConfig.Umask = nil; return nil }},
	{v1_48, func(b *createBody) error {
		for _, e := range b.NetworkingConfig.EndpointsConfig {
			e.GwPriority = 0
		}
		return refuseMounts(b, func(m *mount.Mount) string {
			if m.Type == mount.TypeImage {
				return `Mount type "Image" needs API v1.48 or newer`
			}
			return ""
		})
	}},
	{v1_45, func(b *createBody) error {
		return refuseMounts(b, func(m *mount.Mount) string {
			if m.VolumeOptions != nil && m.VolumeOptions.Subpath != "" {
				return "VolumeOptions.Subpath needs API v1.45 or newer"
			}
			return ""
		})
	}},
	{v1_44, below44},
	{v1_43, func(b *createBody) error { b.HostConfig.Annotations = nil; return nil }},
	{v1_42, func(b *createBody) error {
		b.HostConfig.ConsoleSize = [2]uint{}
		for i := range b.HostConfig.Mounts {
			m := &b.HostConfig.Mounts[i]
			if m.BindOptions != nil {
				m.BindOptions.CreateMountpoint = false
			}
			// Misplaced options were accepted and had no effect.
			if m.Type != mount.TypeVolume {
				m.VolumeOptions = nil
			}
			if m.Type != mount.TypeTmpfs {
				m.TmpfsOptions = nil
			}
		}
		return nil
	}},
	{v1_40, func(b *createBody) error {
		if b.HostConfig.IpcMode.IsEmpty() {
			b.HostConfig.IpcMode = api.IPCModeShareable
		}
		for i := range b.HostConfig.Mounts {
			if o := b.HostConfig.Mounts[i].BindOptions; o != nil {
				o.NonRecursive = false
			}
		}
		return nil
	}},
	// The client removed the container itself.
	{v1_25, func(b *createBody) error { b.HostConfig.AutoRemove = false; return nil }},
}

// upgrade rewrites a request of version v into today's meaning.
func upgrade(v server.Version, cgroup2 bool, b *createBody) (warnings []string, err error) {
	warnings = []string{}
	if e, ok := b.NetworkingConfig.EndpointsConfig[network.NetworkDefault]; ok {
		delete(b.NetworkingConfig.EndpointsConfig, network.NetworkDefault)
		b.NetworkingConfig.EndpointsConfig[network.NetworkBridge] = e
	}
	for name, e := range b.NetworkingConfig.EndpointsConfig {
		if e == nil {
			b.NetworkingConfig.EndpointsConfig[name] = &network.EndpointSettings{}
		}
	}
	for _, u := range upgrades {
		if v < u.below {
			if err := u.apply(b); err != nil {
				return nil, err
			}
		}
	}
	if v < v1_41 && !cgroup2 && b.HostConfig.CgroupnsMode.IsEmpty() {
		b.HostConfig.CgroupnsMode = api.CgroupnsModeHost
	}
	if v >= v1_42 {
		if err := checkMountOptions(b); err != nil {
			return nil, err
		}
	}
	warning, err := macAddress(v, b)
	if err != nil {
		return nil, err
	}
	if warning != "" {
		warnings = append(warnings, warning)
	}
	for _, old := range []struct {
		name  string
		value int64
	}{{"KernelMemory", b.HostConfig.KernelMemory}, {"KernelMemoryTCP", b.HostConfig.KernelMemoryTCP}} {
		if old.value != 0 {
			warnings = append(warnings, fmt.Sprintf("%s was removed from the kernel and from the API and has no effect; use Memory", old.name))
		}
	}
	switch l := b.HostConfig.PidsLimit; {
	case l == nil:
	case *l == 0:
		b.HostConfig.PidsLimit = nil // the clients send it when nobody asked for a limit
	case *l < 0:
		*l = -1 // unlimited, and not the daemon's default
	}
	return warnings, nil
}

func below44(b *createBody) error {
	if b.Healthcheck != nil {
		b.Healthcheck.StartInterval = 0
	}
	if n := len(b.NetworkingConfig.EndpointsConfig); n > 1 {
		names := make([]string, 0, n)
		for name := range b.NetworkingConfig.EndpointsConfig {
			names = append(names, name)
		}
		slices.Sort(names)
		return fault.New(fault.Invalid, "Container cannot be created with multiple network endpoints: %s", strings.Join(names, ", "))
	}
	for i := range b.HostConfig.Mounts {
		m := &b.HostConfig.Mounts[i]
		if m.Type != mount.TypeBind || !m.ReadOnly {
			continue
		}
		if m.BindOptions != nil && m.BindOptions.ReadOnlyForceRecursive {
			return fault.New(fault.Invalid, "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
		}
		if m.BindOptions == nil {
			m.BindOptions = &mount.BindOptions{}
		}
		m.BindOptions.ReadOnlyNonRecursive = true // read-only meant the top mount alone
	}
	return nil
}

func refuseMounts(b *createBody, why func(*mount.Mount) string) error {
	for i := range b.HostConfig.Mounts {
		if text := why(&b.HostConfig.Mounts[i]); text != "" {
			return fault.New(fault.Invalid, "%s", text)
		}
	}
	return nil
}

func checkMountOptions(b *createBody) error {
	return refuseMounts(b, func(m *mount.Mount) string {
		switch {
		case m.VolumeOptions != nil && m.Type != mount.TypeVolume:
			return fmt.Sprintf("VolumeOptions must not be specified on mount type %q", m.Type)
		case m.BindOptions != nil && m.Type != mount.TypeBind:
			return fmt.Sprintf("BindOptions must not be specified on mount type %q", m.Type)
		case m.TmpfsOptions != nil && m.Type != mount.TypeTmpfs:
			return fmt.Sprintf("TmpfsOptions must not be specified on mount type %q", m.Type)
		}
		return ""
	})
}

// macAddress moves the container-wide address of old clients to the endpoint.
func macAddress(v server.Version, b *createBody) (warning string, err error) {
	if v < v1_44 {
		for _, e := range b.NetworkingConfig.EndpointsConfig {
			e.MacAddress = nil // these versions had no address per endpoint
		}
	}
	if b.MacAddress == "" {
		return "", nil
	}
	if v >= v1_52 {
		return "", fault.New(fault.Invalid, "Config.MacAddress was removed in API v1.52; set MacAddress in NetworkingConfig.EndpointsConfig")
	}
	var mac network.HardwareAddr
	if err := mac.UnmarshalText([]byte(b.MacAddress)); err != nil {
		return "", fault.New(fault.Invalid, "invalid MAC address %q: want a form like 02:42:ac:11:00:02", b.MacAddress)
	}
	mode := b.HostConfig.NetworkMode
	if mode != "" && !mode.IsDefault() && !mode.IsBridge() && !mode.IsUserDefined() {
		return "", fault.New(fault.Invalid, "conflicting options: mac-address and the network mode")
	}
	name := mode.NetworkName()
	if mode == "" || mode.IsDefault() {
		name = network.NetworkBridge
	}
	if b.NetworkingConfig.EndpointsConfig == nil {
		b.NetworkingConfig.EndpointsConfig = map[string]*network.EndpointSettings{}
	}
	e := b.NetworkingConfig.EndpointsConfig[name]
	if e == nil {
		e = &network.EndpointSettings{}
		b.NetworkingConfig.EndpointsConfig[name] = e
	}
	if len(e.MacAddress) > 0 && e.MacAddress.String() != mac.String() {
		return "", fault.New(fault.Invalid, "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty")
	}
	e.MacAddress = mac
	if v >= v1_44 {
		warning = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
	}
	return warning, nil
}

// hasCgroup2 tells whether the machine has the unified hierarchy alone.
func hasCgroup2() bool {
	var fs unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}
