package speccheck

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/kernel/weak"
)

const (
	// maxHostname is __NEW_UTS_LEN.
	maxHostname = 64
	// The kernel takes at most 340 lines in a map of ids (UID_GID_MAP_MAX_EXTENTS).
	maxMappings = 340
	maxMajor    = 1<<12 - 1
	// maxDevice is IFNAMSIZ without the NUL.
	maxDevice = 15
	maxMinor  = 1<<20 - 1
)

// find returns the specification's entry for a kind of namespace.
func find(s *specs.Spec, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	if s.Linux == nil {
		return nil
	}
	for i := range s.Linux.Namespaces {
		if s.Linux.Namespaces[i].Type == kind {
			return &s.Linux.Namespaces[i]
		}
	}
	return nil
}

var namespaceKinds = []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
	specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace}

func namespaces(s *specs.Spec) error {
	if s.Linux == nil {
		return nil
	}
	var seen []specs.LinuxNamespaceType
	for _, ns := range s.Linux.Namespaces {
		switch {
		case !slices.Contains(namespaceKinds, ns.Type):
			return invalid("linux.namespaces has the unknown type %s", quoted(string(ns.Type)))
		case slices.Contains(seen, ns.Type):
			return invalid("linux.namespaces has %s twice", ns.Type)
		}
		seen = append(seen, ns.Type)
		if ns.Path != "" {
			if err := absolute("linux.namespaces path", ns.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

func names(s *specs.Spec) error {
	for _, n := range []struct{ field, value string }{{"hostname", s.Hostname}, {"domainname", s.Domainname}} {
		switch {
		case n.value == "":
			continue
		case len(n.value) > maxHostname:
			return invalid("%s %s has %d bytes, the kernel takes %d", n.field, quoted(n.value), len(n.value), maxHostname)
		case find(s, specs.UTSNamespace) == nil:
			return invalid("%s is set, but the container shares the host's UTS namespace; add a uts namespace", n.field)
		}
		if err := text(n.field, n.value); err != nil {
			return err
		}
	}
	return nil
}

func idMappings(s *specs.Spec) error {
	for i, m := range s.Mounts {
		if (len(m.UIDMappings) > 0) != (len(m.GIDMappings) > 0) {
			return invalid("mounts[%d] must have both uidMappings and gidMappings, or neither", i)
		}
		for field, list := range map[string][]specs.LinuxIDMapping{"uidMappings": m.UIDMappings, "gidMappings": m.GIDMappings} {
			if err := mapping(fmt.Sprintf("mounts[%d].%s", i, field), list); err != nil {
				return err
			}
		}
	}
	l := s.Linux
	if l == nil {
		return nil
	}
	if err := mapping("linux.uidMappings", l.UIDMappings); err != nil {
		return err
	}
	if err := mapping("linux.gidMappings", l.GIDMappings); err != nil {
		return err
	}
	ns := find(s, specs.UserNamespace)
	switch mapped := len(l.UIDMappings) > 0 || len(l.GIDMappings) > 0; {
	case ns == nil && mapped:
		return invalid("linux.uidMappings and linux.gidMappings need a user namespace")
	case ns != nil && ns.Path == "" && (len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0):
		return invalid("a new user namespace needs both linux.uidMappings and linux.gidMappings")
	}
	return nil
}

func mapping(field string, list []specs.LinuxIDMapping) error {
	if len(list) > maxMappings {
		return invalid("%s has %d entries, the kernel takes %d", field, len(list), maxMappings)
	}
	for i, m := range list {
		if m.Size == 0 {
			return invalid("%s[%d] maps no ids: its size is 0", field, i)
		}
		// The last id, (uid_t)-1, has no owner.
		if uint64(m.ContainerID)+uint64(m.Size) > noID || uint64(m.HostID)+uint64(m.Size) > noID {
			return invalid("%s[%d] of %d ids goes beyond the largest id %d", field, i, m.Size, uint32(noID-1))
		}
	}
	return nil
}

func mounts(s *specs.Spec) error {
	for i, m := range s.Mounts {
		field := fmt.Sprintf("mounts[%d]", i)
		if err := text(field+".destination", m.Destination); err != nil {
			return err
		}
		if m.Destination == "" {
			return invalid("%s.destination is empty", field)
		}
		// A relative one is taken from the root (config.md, mounts: for old tools).
		if path.Clean("/"+m.Destination) == "/" {
			return invalid("%s.destination is the root directory; the root file system is given by root", field)
		}
		for _, v := range append(m.Options[:len(m.Options):len(m.Options)], m.Source, m.Type) {
			if err := text(field, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func netDevices(s *specs.Spec) error {
	if s.Linux == nil || len(s.Linux.NetDevices) == 0 {
		return nil
	}
	if find(s, specs.NetworkNamespace) == nil {
		return invalid("linux.netDevices needs a network namespace; the container shares the host's")
	}
	for from, to := range s.Linux.NetDevices {
		for _, name := range []string{from, strings.Replace(cmp.Or(to.Name, from), "%d", "0", 1)} {
			if name == "" || name == "." || name == ".." || len(name) > maxDevice || strings.ContainsAny(name, "/:% \t\n\v\f\r\x00") {
				return invalid("linux.netDevices has %s, which is no name of a network device", quoted(name))
			}
		}
	}
	return nil
}

func seccomp(s *specs.Spec) error {
	if s.Linux == nil || s.Linux.Seccomp == nil {
		return nil
	}
	switch p := s.Linux.Seccomp; {
	case p.ListenerMetadata != "" && p.ListenerPath == "":
		return invalid("linux.seccomp.listenerMetadata is set, but listenerPath is not")
	case p.ListenerPath != "":
		return absolute("linux.seccomp.listenerPath", p.ListenerPath)
	}
	return nil
}

func devices(s *specs.Spec) error {
	if s.Linux == nil {
		return nil
	}
	for i, d := range s.Linux.Devices {
		field := fmt.Sprintf("linux.devices[%d]", i)
		if err := absolute(field+".path", d.Path); err != nil {
			return err
		}
		fileType := uint32(syscall.S_IFCHR)
		switch d.Type {
		case "b":
			fileType = syscall.S_IFBLK
		case "p":
			fileType = syscall.S_IFIFO
		}
		switch d.Type {
		case "b", "c", "u":
			if d.Major < 0 || d.Major > maxMajor || d.Minor < 0 || d.Minor > maxMinor {
				return invalid("%s (%s) has the numbers %d:%d; they go up to %d:%d", field, quoted(d.Path), d.Major, d.Minor, maxMajor, maxMinor)
			}
		case "p":
		default:
			return invalid("%s (%s) has the type %s; it must be b, c, u or p", field, quoted(d.Path), quoted(d.Type))
		}
		// Podman hands on what stat(2) says of the host's node, with its type.
		if d.FileMode != nil && uint32(*d.FileMode)&^0o7777 != 0 && uint32(*d.FileMode)&^0o7777 != fileType {
			return invalid("%s (%s) has the mode %#o; only permission bits may be set", field, quoted(d.Path), uint32(*d.FileMode))
		}
		if d.UID != nil && *d.UID == noID || d.GID != nil && *d.GID == noID {
			return invalid("%s (%s) has an owner out of range; ids go from 0 to %d", field, quoted(d.Path), uint32(noID-1))
		}
	}
	return nil
}

func paths(s *specs.Spec) error {
	if s.Linux == nil {
		return nil
	}
	for _, l := range []struct {
		field string
		list  []string
	}{{"linux.maskedPaths", s.Linux.MaskedPaths}, {"linux.readonlyPaths", s.Linux.ReadonlyPaths}} {
		for i, p := range l.list {
			if err := absolute(fmt.Sprintf("%s[%d]", l.field, i), p); err != nil {
				return err
			}
		}
	}
	return nil
}

// ipcSysctls belong to the IPC namespace, beside everything below fs.mqueue.
var ipcSysctls = []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"}

// sysctls accepts only keys of a namespace that the container does not share with
// the host: all others change the whole machine (CVE-2022-0811 wrote core_pattern
// this way). Whether a namespace given by a path is the host's is for the step
// that opens it.
func sysctls(s *specs.Spec) error {
	if s.Linux == nil {
		return nil
	}
	for key, value := range s.Linux.Sysctl {
		if err := sysctl(s, key, value); err != nil {
			return err
		}
	}
	return nil
}

func sysctl(s *specs.Spec, key, value string) error {
	if weak.Off("sysctl") {
		return nil
	}
	plain := strings.ReplaceAll(key, "/", ".")
	if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@:") != "" ||
		strings.Contains(plain, "..") || strings.HasPrefix(plain, ".") || strings.HasSuffix(plain, ".") {
		return invalid("linux.sysctl %s is not the name of a kernel parameter", quoted(key))
	}
	if len(value) > 4<<10 || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f || c == '+' }) {
		return invalid("linux.sysctl %s has the value %s, which holds control characters or a plus sign, or is too long", quoted(key), quoted(value))
	}
	var kind specs.LinuxNamespaceType
	switch {
	case slices.Contains(ipcSysctls, plain) || strings.HasPrefix(plain, "fs.mqueue."):
		kind = specs.IPCNamespace
	case strings.HasPrefix(plain, "net."):
		kind = specs.NetworkNamespace
	case plain == "kernel.domainname":
		kind = specs.UTSNamespace
	case strings.HasPrefix(plain, "user."):
		kind = specs.UserNamespace
	case plain == "kernel.hostname":
		return invalid("linux.sysctl %s is set by the field hostname", quoted(key))
	default:
		return invalid("linux.sysctl %s is not namespaced: it would change the whole host, so a container may not set it", quoted(key))
	}
	if find(s, kind) == nil {
		return invalid("linux.sysctl %s would change the host, whose %s namespace the container shares; give it one of its own, or leave the parameter out", quoted(key), kind)
	}
	return nil
}
