package privs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// maxMappings is the kernel's limit of lines in an id map (Linux 4.15).
const maxMappings = 340

// NewUserNS makes a user namespace with the given id maps. It holds no process;
// it is joined by descriptor, or used for an idmapped mount. Making it ahead of
// the container keeps the launch free of a conversation about maps.
func NewUserNS(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	user, _, err := newUserNS(uids, gids, false)
	return user, err
}

// NewUserNetNS makes a network namespace that belongs to a new user namespace: whoever
// is root there has root's rights over the links and ports.
func NewUserNetNS(uids, gids []specs.LinuxIDMapping) (user, net *os.File, err error) {
	return newUserNS(uids, gids, true)
}

func newUserNS(uids, gids []specs.LinuxIDMapping, withNet bool) (user, net *os.File, err error) {
	uidMap, err := mapText("uid", uids)
	if err != nil {
		return nil, nil, err
	}
	gidMap, err := mapText("gid", gids)
	if err != nil {
		return nil, nil, err
	}
	b := launch.NewBuilder()
	defer b.Release()
	b.At("hold a user namespace")
	b.Orphan()
	b.Wait()
	b.Exit(0)
	p, err := b.Finish()
	if err != nil {
		return nil, nil, err
	}
	flags := uintptr(unix.CLONE_NEWUSER)
	if withNet {
		flags |= unix.CLONE_NEWNET
	}
	holder, err := p.Start(launch.StartOptions{Flags: flags})
	if err != nil {
		return nil, nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer holder.PidFD.Close()
	defer holder.Close()
	defer holder.Kill()
	if _, err := holder.Next(); err != nil {
		return nil, nil, fmt.Errorf("make a user namespace: %w", err)
	}
	// The holder is our child and not reaped, so its number cannot mean another process.
	dir := "/proc/" + strconv.Itoa(holder.Pid)
	if err := writeMap(dir+"/uid_map", uidMap); err != nil {
		return nil, nil, fmt.Errorf("map the user ids of a user namespace: %w", err)
	}
	if !Has(unix.CAP_SETGID) {
		// Without the capability the kernel only takes a map of one's own group,
		// and only when setgroups is given up (user_namespaces(7)).
		if err := writeMap(dir+"/setgroups", "deny"); err != nil {
			return nil, nil, fmt.Errorf("give up setgroups in a user namespace: %w", err)
		}
	}
	if err := writeMap(dir+"/gid_map", gidMap); err != nil {
		return nil, nil, fmt.Errorf("map the group ids of a user namespace: %w", err)
	}
	if user, err = os.Open(dir + "/ns/user"); err != nil || !withNet {
		return user, nil, err
	}
	if net, err = os.Open(dir + "/ns/net"); err != nil {
		user.Close()
		return nil, nil, err
	}
	return user, net, nil
}

func mapText(kind string, maps []specs.LinuxIDMapping) (string, error) {
	if len(maps) == 0 {
		return "", fault.New(fault.Invalid, "a new user namespace needs a %s map", kind)
	}
	if len(maps) > maxMappings {
		return "", fault.New(fault.Invalid, "the %s map has %d lines, the kernel takes %d", kind, len(maps), maxMappings)
	}
	var text strings.Builder
	for _, m := range maps {
		fmt.Fprintf(&text, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return text.String(), nil
}

// writeMap writes in one call, as the kernel demands.
func writeMap(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	var number unix.Errno
	if errors.As(err, &number) {
		switch number {
		case unix.EPERM:
			return fault.New(fault.Forbidden, "the caller may not map these ids: %w", number)
		case unix.EINVAL:
			return fault.New(fault.Invalid, "ranges overlap or are empty: %w", number)
		}
	}
	return err
}

// MappedRoot returns the ids inside that file-making steps use: 0 where it is
// mapped, the first mapped id otherwise.
func MappedRoot(maps []specs.LinuxIDMapping) uint32 {
	for _, m := range maps {
		if m.ContainerID == 0 && m.Size > 0 {
			return 0
		}
	}
	if len(maps) > 0 {
		return maps[0].ContainerID
	}
	return 0
}

// InitialUserNS reports whether the caller is in the machine's first user namespace, or in
// one that cannot be told from it: some rights of root hold only there.
var InitialUserNS = sync.OnceValue(func() bool {
	name, err := os.Readlink("/proc/self/ns/user")
	return err != nil || name == "user:[4026531837]" // PROC_USER_INIT_INO in linux/proc_ns.h
})

// mayRaise reports whether the caller may raise limits that hold for the whole machine.
func mayRaise() bool { return Has(unix.CAP_SYS_RESOURCE) && InitialUserNS() }
