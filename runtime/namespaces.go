package runtime

import (
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// nsKind is a kind of namespace: its name in the specification, its clone flag,
// and its name in /proc/PID/ns.
type nsKind struct {
	kind specs.LinuxNamespaceType
	flag uintptr
	file string
}

// nsKinds in the order in which they are joined. The mount namespace is last: what
// comes before must not depend on the container's files.
var nsKinds = []nsKind{
	{specs.CgroupNamespace, unix.CLONE_NEWCGROUP, "cgroup"},
	{specs.IPCNamespace, unix.CLONE_NEWIPC, "ipc"},
	{specs.UTSNamespace, unix.CLONE_NEWUTS, "uts"},
	{specs.NetworkNamespace, unix.CLONE_NEWNET, "net"},
	{specs.PIDNamespace, unix.CLONE_NEWPID, "pid"},
	{specs.TimeNamespace, unix.CLONE_NEWTIME, "time"},
	{specs.UserNamespace, unix.CLONE_NEWUSER, "user"},
	{specs.MountNamespace, unix.CLONE_NEWNS, "mnt"},
}

func kindOf(t specs.LinuxNamespaceType) (nsKind, bool) {
	for _, k := range nsKinds {
		if k.kind == t {
			return k, true
		}
	}
	return nsKind{}, false
}

// namespaces says which namespaces are made and which are joined. All others are
// the caller's.
type namespaces struct {
	create uintptr              // CLONE_NEW* flags
	join   map[uintptr]*os.File // by flag
	opened []*os.File           // those of join that are ours to close
}

func (n *namespaces) creates(flag uintptr) bool { return n.create&flag != 0 }
func (n *namespaces) joins(flag uintptr) bool   { return n.join[flag] != nil }

// private reports whether the container does not share the caller's namespace.
func (n *namespaces) private(flag uintptr) bool { return n.creates(flag) || n.joins(flag) }

// flags are all namespaces that the container does not share with the caller.
func (n *namespaces) flags() uintptr {
	all := n.create
	for flag := range n.join {
		all |= flag
	}
	return all
}

func (n *namespaces) close() {
	for _, f := range n.opened {
		f.Close()
	}
}

func parseNamespaces(list []specs.LinuxNamespace, given map[specs.LinuxNamespaceType]*os.File) (*namespaces, error) {
	n := &namespaces{join: make(map[uintptr]*os.File, len(given))}
	for t, f := range given {
		k, ok := kindOf(t)
		if !ok {
			return nil, fault.New(fault.Invalid, "unknown kind of namespace %q", t)
		}
		n.join[k.flag] = f
	}
	seen := uintptr(0)
	for _, ns := range list {
		k, ok := kindOf(ns.Type)
		switch {
		case !ok:
			n.close()
			return nil, fault.New(fault.Invalid, "unknown kind of namespace %q", ns.Type)
		case seen&k.flag != 0:
			n.close()
			return nil, fault.New(fault.Invalid, "the %s namespace is given twice", ns.Type)
		case n.joins(k.flag):
		case ns.Path == "":
			n.create |= k.flag
		default:
			f, err := openNamespace(ns)
			if err != nil {
				n.close()
				return nil, err
			}
			n.join[k.flag] = f
			n.opened = append(n.opened, f)
		}
		seen |= k.flag
	}
	return n, nil
}

func openNamespace(ns specs.LinuxNamespace) (*os.File, error) {
	f, err := os.Open(ns.Path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "join the %s namespace %s: %s", ns.Type, ns.Path, plain(err))
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Type != unix.NSFS_MAGIC {
		f.Close()
		return nil, fault.New(fault.Invalid, "join the %s namespace %s: the file is not a namespace", ns.Type, ns.Path)
	}
	return f, nil
}

// Namespace opens one of the container's namespaces. The caller owns the file.
func (c *Container) Namespace(kind specs.LinuxNamespaceType) (*os.File, error) {
	k, ok := kindOf(kind)
	if !ok {
		return nil, fault.New(fault.Invalid, "unknown kind of namespace %q", kind)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", c.Pid, k.file))
	if err != nil {
		return nil, fault.New(fault.Conflict, "open the %s namespace of container %s: its first process has ended", kind, c.ID)
	}
	// The number meant our process when the file was opened if that still runs now.
	if ended, err := c.ended(); ended || err != nil {
		f.Close()
		return nil, fault.New(fault.Conflict, "open the %s namespace of container %s: its first process has ended", kind, c.ID)
	}
	return f, nil
}
