package runtime

import (
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// idMap shows the layers of an overlay to the user namespace as its own. A namespace
// that is joined, and whose maps are not told, sees them as they are.
func (l *launcher) idMap() *mountapi.IDMap {
	if l.user == nil {
		return nil
	}
	return NewIDMap(l.user, l.linux)
}

// NewIDMap describes idmapped mounts for a user namespace with the maps of a
// specification; nil if that has none.
func NewIDMap(ns *os.File, linux *specs.Linux) *mountapi.IDMap {
	if len(linux.UIDMappings) == 0 || len(linux.GIDMappings) == 0 {
		return nil
	}
	return &mountapi.IDMap{UserNS: ns, UID: hostRoot(linux.UIDMappings), GID: hostRoot(linux.GIDMappings)}
}

// hostRoot is what root inside is outside, or else the first id that is mapped.
func hostRoot(maps []specs.LinuxIDMapping) int {
	for _, m := range maps {
		if m.ContainerID == 0 && m.Size > 0 {
			return int(m.HostID)
		}
	}
	return int(maps[0].HostID)
}

// owns tells whether a namespace belongs to a user namespace (ioctl_ns(2)).
func owns(user, ns *os.File) bool {
	if user == nil || ns == nil {
		return false
	}
	fd, err := unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var owner, own unix.Stat_t
	return unix.Fstat(fd, &owner) == nil && unix.Fstat(int(user.Fd()), &own) == nil && owner.Dev == own.Dev && owner.Ino == own.Ino
}

// ownsNet tells whether the network namespace that is joined, or stays, belongs to the
// container's user namespace.
func (l *launcher) ownsNet() bool {
	user, net := l.user, l.ns.join[unix.CLONE_NEWNET]
	if l.nested && user == nil {
		user, _ = os.Open("/proc/self/ns/user") // nil, and false, is fine
		defer user.Close()
		if net == nil {
			net, _ = os.Open("/proc/self/ns/net")
			defer net.Close()
		}
	}
	return owns(user, net)
}

// mapped is the container's user namespace where it is known to have the maps of the
// specification: one that was made with them, or joined by who runs layers, that is
// Sampan's daemon.
func (l *launcher) mapped() *os.File {
	if l.ns.creates(unix.CLONE_NEWUSER) || l.s.Overlay != nil {
		return l.user
	}
	return nil
}
