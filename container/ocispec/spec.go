// Package ocispec turns what a user asked for (Docker's container and host
// configuration) into an OCI runtime specification, with Docker's defaults: its
// capabilities, masked and read-only paths, devices, mounts and seccomp profile.
//
// Build is pure: everything it needs from the machine (the resolved user, host
// device numbers through Host, the daemon's defaults) comes in through Input, so
// that golden tests hold the result. Validation that can refuse a create request
// lives in Check and in the parsers it uses; Build calls them again, because a
// record may come from an older daemon.
package ocispec

import (
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	rtseccomp "github.com/sampan-containers/sampan/runtime/seccomp"
	"github.com/sampan-containers/sampan/runtime/speccheck"
)

// DefaultShmSize is the size of /dev/shm unless the request or the daemon says otherwise.
const DefaultShmSize = 64 << 20

// DefaultPidsLimit is how many processes and threads a container may have unless the
// request or the daemon says otherwise: far more than a server has, far less than
// the 32,768 of a small host.
const DefaultPidsLimit = 4096

// DefaultPath is the PATH of a container whose image sets none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Input is everything a specification is made of.
type Input struct {
	ID         string
	Path       string // the command, entrypoint and cmd merged
	Args       []string
	Config     *container.Config     // merged with the image's
	HostConfig *container.HostConfig // normalised
	User       User
	Hostname   string
	Domainname string
	// CgroupsPath is the container's group below every hierarchy's root.
	CgroupsPath string
	// CgroupV2 tells that the host runs the unified hierarchy only.
	CgroupV2 bool
	// Root is the root directory when it is not an overlay made by the shim.
	Root string
	// Mounts are the user's mounts, sources already resolved.
	Mounts []Mount
	// UIDs and GIDs are the maps of a user namespace of its own; empty: the host's.
	UIDs, GIDs []specs.LinuxIDMapping
	// ShmSource is a host directory to bind at /dev/shm (ipc host or
	// shareable); empty: a tmpfs of the container's own.
	ShmSource string
	// InitPath is the init program to bind and run first; empty: none.
	InitPath string
	Defaults Defaults
	Host     Host
}

// Defaults are the daemon's own settings that reach every container.
type Defaults struct {
	NoNewPrivileges bool
	Ulimits         []*container.Ulimit
	// PidsLimit bounds the processes of a container that asks for no limit of its
	// own, so that no container can take all that the host has; 0: none.
	PidsLimit int64
	// Seccomp is the JSON of the daemon's profile; empty: the built-in one,
	// "unconfined": none.
	Seccomp string
}

const initTarget = "/sbin/docker-init"

// Build makes the specification. Where filters is not nil, the built-in seccomp
// profile comes as a compiled filter, and the specification has none. Errors are
// fault.Invalid unless they come from reading the host's devices.
func Build(in *Input, filters *Filters) (*specs.Spec, *rtseccomp.Filter, error) {
	hc := in.HostConfig
	security, err := ParseSecurityOpts(hc.SecurityOpt)
	if err != nil {
		return nil, nil, err
	}
	process, err := buildProcess(in, security)
	if err != nil {
		return nil, nil, err
	}
	s := &specs.Spec{
		Version:     specs.Version,
		Process:     process,
		Root:        &specs.Root{Path: in.Root, Readonly: hc.ReadonlyRootfs},
		Hostname:    in.Hostname,
		Domainname:  in.Domainname,
		Annotations: maps.Clone(hc.Annotations),
		Linux: &specs.Linux{
			CgroupsPath:       in.CgroupsPath,
			RootfsPropagation: rootPropagation(in.Mounts),
			Namespaces:        namespaces(in),
			MaskedPaths:       slices.Clone(hc.MaskedPaths),
			ReadonlyPaths:     slices.Clone(hc.ReadonlyPaths),
			UIDMappings:       in.UIDs,
			GIDMappings:       in.GIDs,
		},
	}
	if hc.UTSMode.IsHost() {
		// The names of the host's own UTS namespace are not the container's to set.
		s.Hostname, s.Domainname = "", ""
	}
	if s.Linux.Sysctl, err = sysctls(hc, in.GIDs); err != nil {
		return nil, nil, err
	}
	s.Mounts = mounts(in)
	devices, rules, err := devices(in)
	if err != nil {
		return nil, nil, err
	}
	s.Linux.Devices = devices
	if s.Linux.Resources, err = resources(hc, rules, in.Host); err != nil {
		return nil, nil, err
	}
	if limit := in.Defaults.PidsLimit; limit > 0 && s.Linux.Resources.Pids == nil {
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	}
	var filter *rtseccomp.Filter
	if filters != nil && isBuiltIn(in, security) {
		if filter, err = filters.builtIn(s); err != nil {
			return nil, nil, err
		}
	}
	if filter == nil {
		if s.Linux.Seccomp, err = seccompProfile(in, security, s); err != nil {
			return nil, nil, err
		}
	}
	return s, filter, Check(s)
}

// Check holds the result to what every config.json must keep, whatever the
// request said. The root's path is the shim's: it has the layers.
func Check(s *specs.Spec) error {
	c := *s
	c.Root = &specs.Root{Path: "rootfs"}
	return speccheck.Check(&c)
}

// namespaces lists the namespaces that are the container's own. Those of other
// containers (container:X) and the network's are handed over as descriptors by
// the caller; they are listed without a path here.
func namespaces(in *Input) []specs.LinuxNamespace {
	hc := in.HostConfig
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if len(in.UIDs) > 0 {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	if !hc.NetworkMode.IsHost() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	if !hc.UTSMode.IsHost() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UTSNamespace})
	}
	if !hc.PidMode.IsHost() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.PIDNamespace})
	}
	if !hc.IpcMode.IsHost() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.IPCNamespace})
	}
	if hc.CgroupnsMode.IsPrivate() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return ns
}

// cpuCount is the number of per-CPU directories whose throttle counters are masked.
func cpuCount() int { return runtime.NumCPU() }

// cleanTarget gives a mount target its canonical absolute form.
func cleanTarget(p string) string {
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return path.Clean(p)
}
