// Package userns says which ids of the host a container's users are: --userns-remap of
// the daemon, --userns of a container.
//
// Nothing on disk changes with it. Layers, the writable layer and volumes hold the
// container's own ids (root is 0), and are idmapped mounts in a remapped container: one
// image, one container or one volume serves remapped and plain containers alike, today
// with this range and tomorrow with that. Bind mounts show the host's ids as they are.
package userns

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const (
	// ModeRemap is --userns remap: a user namespace for this container, also where
	// the daemon has no --userns-remap.
	ModeRemap container.UsernsMode = "remap"

	// dockremap is the user whose ranges --userns-remap=default takes, as in Docker.
	dockremap = "dockremap"
	// Without such a user nobody has to make one: this range lies above those that
	// useradd gives to users, and among those that systemd keeps for containers.
	firstID, ids = 1000000000, 65536

	maxSubIDs = 1 << 20 // bytes of /etc/subuid that are read
)

// Remap are the maps of a user namespace.
type Remap struct {
	UIDs, GIDs []specs.LinuxIDMapping
}

// Default are the maps of --userns-remap=default.
func Default() (*Remap, error) { return Parse("default") }

// Parse reads the value of --userns-remap: default, USER, USER:GROUP, as names or ids.
// The ranges are those of /etc/subuid and /etc/subgid.
func Parse(value string) (*Remap, error) {
	return parse(value, "/etc/subuid", "/etc/subgid")
}

func parse(value, subuid, subgid string) (*Remap, error) {
	name, group, two := strings.Cut(value, ":")
	if name == "" || two && group == "" {
		return nil, fault.New(fault.Invalid, "%q: want default, USER or USER:GROUP", value)
	}
	builtIn := value == "default"
	if builtIn {
		name = dockremap
	}
	if !two {
		group = name
	}
	uids, err := ranges(subuid, userNames(name))
	if err != nil {
		return nil, err
	}
	gids, err := ranges(subgid, groupNames(group))
	if err != nil {
		return nil, err
	}
	switch {
	case builtIn && len(uids) == 0 && len(gids) == 0:
		m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: firstID, Size: ids}}
		return &Remap{m, m}, nil
	case len(uids) == 0:
		return nil, fault.New(fault.Invalid, "%s has no line for %s; add one such as %s:100000:65536", subuid, name, name)
	case len(gids) == 0:
		return nil, fault.New(fault.Invalid, "%s has no line for %s; add one such as %s:100000:65536", subgid, group, group)
	}
	return &Remap{uids, gids}, nil
}

// userNames are the spellings under which /etc/subuid may list a user.
func userNames(name string) [2]string {
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		return [2]string{name, name}
	}
	return [2]string{u.Username, u.Uid}
}

func groupNames(name string) [2]string {
	g, err := user.LookupGroup(name)
	if err != nil {
		g, err = user.LookupGroupId(name)
	}
	if err != nil {
		return [2]string{name, name}
	}
	return [2]string{g.Name, g.Gid}
}

// ranges reads the lines NAME:FIRST:COUNT of a user (subuid(5)); several follow each
// other in the container.
func ranges(file string, names [2]string) ([]specs.LinuxIDMapping, error) {
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSubIDs))
	if err != nil {
		return nil, err
	}
	var out []specs.LinuxIDMapping
	next := uint64(0)
	for line := range strings.Lines(string(raw)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || fields[0] != names[0] && fields[0] != names[1] {
			continue
		}
		first, err1 := strconv.ParseUint(fields[1], 10, 32)
		count, err2 := strconv.ParseUint(fields[2], 10, 32)
		if err1 != nil || err2 != nil || count == 0 || first == 0 || first+count > 1<<32-1 || next+count > 1<<32-1 {
			return nil, fault.New(fault.Invalid, "%s: the line %q is not NAME:FIRST:COUNT with ids above 0", file, strings.TrimSpace(line))
		}
		out = append(out, specs.LinuxIDMapping{ContainerID: uint32(next), HostID: uint32(first), Size: uint32(count)})
		next += count
	}
	return out, nil
}

// Of returns the maps of a container, or nil for one in the host's user namespace.
// daemon is what --userns-remap says, or nil.
func (o *Own) Of(hc *container.HostConfig, daemon *Remap) (*Remap, error) {
	switch {
	case hc.UsernsMode.IsHost():
		return nil, nil
	case daemon != nil:
		return daemon, nil
	case hc.UsernsMode == ModeRemap:
		return o.get()
	}
	return nil, nil
}

// Check refuses what a container of its own user namespace cannot share, in Docker's
// words.
func (r *Remap) Check(hc *container.HostConfig) error {
	invalid := func(text string) error {
		return fault.New(fault.Invalid, "%s (use --userns host)", text)
	}
	switch {
	case r == nil:
		return nil
	case hc.Privileged:
		return invalid("privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode")
	case hc.NetworkMode.IsHost():
		return invalid("cannot share the host's network namespace when user namespaces are enabled")
	case hc.PidMode.IsHost():
		return invalid("cannot share the host PID namespace when user namespaces are enabled")
	case hc.IpcMode.IsHost():
		return invalid("cannot share the host's IPC namespace when user namespaces are enabled")
	case hc.UTSMode.IsHost():
		return invalid("cannot share the host's UTS namespace when user namespaces are enabled")
	}
	return nil
}

// Host is who a user of the container is on the host; one that has no place there stays
// what it is.
func (r *Remap) Host(uid, gid int) (int, int) {
	return through(r.UIDs, uid, true), through(r.GIDs, gid, true)
}

// Container is who a user of the host is in the container; one that is nobody there
// becomes the kernel's overflow id.
func (r *Remap) Container(uid, gid int) (int, int) {
	return through(r.UIDs, uid, false), through(r.GIDs, gid, false)
}

// overflow is what the kernel shows instead of an id that is not mapped.
const overflow = 65534

func through(maps []specs.LinuxIDMapping, id int, out bool) int {
	for _, m := range maps {
		from, to := int(m.HostID), int(m.ContainerID)
		if out {
			from, to = to, from
		}
		if id >= from && id < from+int(m.Size) {
			return id - from + to
		}
	}
	if out {
		return id
	}
	return overflow
}

// minKernel is the first version whose overlay takes idmapped layers.
var minKernel = [2]int{5, 19}

// CheckKernel refuses kernels that cannot remap without copies.
func CheckKernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	return checkRelease(unix.ByteSliceToString(u.Release[:]))
}

func checkRelease(release string) error {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return nil // no version that says anything: the mount will
	}
	if major < minKernel[0] || major == minKernel[0] && minor < minKernel[1] {
		return fault.New(fault.NotImplemented, "user namespaces for containers need idmapped layers, which Linux has since %d.%d; this is %s", minKernel[0], minKernel[1], release)
	}
	return nil
}
