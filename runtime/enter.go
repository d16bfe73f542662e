package runtime

import (
	"fmt"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/privs"
	"github.com/sampan-containers/sampan/runtime/rootfs"
)

// enterNamespaces adds the way into the container's namespaces and its root.
func (l *launcher) enterNamespaces() error {
	// With the caller's rights, which reach every namespace on the host.
	l.joinAll(nsKinds, unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
	l.enterRoot()
	if l.user != nil {
		l.enterUserNS()
	}
	l.makeNamespaces()
	if l.ns.creates(unix.CLONE_NEWTIME) {
		if err := l.timeOffsets(); err != nil {
			return err
		}
	}
	if l.early {
		l.forkEarly()
	}
	return nil
}

// joinAll joins by descriptor what is not among the flags left out.
func (p *plan) joinAll(kinds []nsKind, leave uintptr) {
	for _, k := range kinds {
		if f := p.ns.join[k.flag]; f != nil && k.flag&leave == 0 {
			p.b.At("join the "+string(k.kind)+" namespace",
				launch.Hint{Errno: syscall.EINVAL, Text: "the descriptor is of another kind of namespace"},
				launch.Hint{Errno: syscall.EPERM, Text: "it belongs to a user namespace in which the engine has no rights"})
			p.b.Setns(fd(f), k.flag)
		}
	}
}

// enterRoot makes the mount namespace and goes to the root in it.
func (l *launcher) enterRoot() {
	b := l.b
	l.tree = rootfs.Tree{Root: b.Slot(), Base: b.Slot()}
	if l.ns.joins(unix.CLONE_NEWNS) {
		b.At("join the mount namespace")
		b.Setns(fd(l.ns.join[unix.CLONE_NEWNS]), unix.CLONE_NEWNS)
	}
	switch {
	case l.place != "":
		if l.ns.creates(unix.CLONE_NEWNS) {
			rootfs.CopyTable(b)
		}
		l.entry.AttachAt(b, l.tree, l.place, l.root, l.user != nil && !l.nested)
		return // the root directory is still the host's: see leaveHost
	case l.ns.joins(unix.CLONE_NEWNS):
		b.Openat(launch.Cwd(), "/", unix.O_PATH|unix.O_DIRECTORY, 0).Into(l.tree.Root)
		return
	case !l.ns.creates(unix.CLONE_NEWNS):
		b.Set(l.tree.Root, fd(l.root))
	default:
		l.entry.Compile(b)
		b.At("attach the root file system")
		b.Openat(launch.Cwd(), ".", unix.O_PATH|unix.O_DIRECTORY, 0).Into(l.tree.Base)
		if l.user != nil && !l.nested {
			rootfs.ShowKernelFS(b)
		}
		// Over the base: no way leads back below a mount that covers the root of
		// the namespace, and the base holds nothing anyway.
		b.MoveMount(fd(l.root), launch.In(l.tree.Base))
		b.Set(l.tree.Root, fd(l.root))
	}
	l.changeRoot()
}

func (l *launcher) changeRoot() {
	l.b.At("change to the root file system")
	l.b.Fchdir(launch.In(l.tree.Root))
	l.b.Call(unix.SYS_CHROOT, l.b.Str("."))
}

// leaveHost takes the host's files away from a child that needed them for longer: for
// createContainer hooks, or since its mount namespace is the host's or a joined one.
func (l *launcher) leaveHost() {
	switch {
	case l.place == "":
	case l.ns.creates(unix.CLONE_NEWNS):
		rootfs.Pivot(l.b, l.tree)
	default:
		l.changeRoot()
	}
}

// enterUserNS joins the user namespace. The mount namespace is copied once more, so
// that it belongs to the user namespace; everything mounted so far is locked by
// that, the root over the base included, and cannot be taken off from inside.
func (l *launcher) enterUserNS() {
	b := l.b
	own := l.ns.creates(unix.CLONE_NEWNS)
	if own {
		// The copy moves root and current directory into itself, and only those.
		b.At("enter the user namespace")
		b.Fchdir(launch.In(l.tree.Base))
	}
	b.At("join the user namespace",
		launch.Hint{Errno: syscall.EINVAL, Text: "it is the namespace that the engine is in"})
	b.Setns(fd(l.user), unix.CLONE_NEWUSER)
	id := launch.Word(uintptr(privs.MappedRoot(l.linux.UIDMappings)))
	gid := launch.Word(uintptr(privs.MappedRoot(l.linux.GIDMappings)))
	b.At("become root of the user namespace", launch.Hint{Errno: syscall.EINVAL, Text: "its maps have no root"})
	b.Call(unix.SYS_SETGROUPS, launch.Int(0), launch.Int(0)).Ignore(syscall.EPERM) // where setgroups is denied
	b.Call(unix.SYS_SETRESGID, gid, gid, gid)
	b.Call(unix.SYS_SETRESUID, id, id, id)
	if own {
		b.At("make a mount namespace in the user namespace")
		b.Unshare(unix.CLONE_NEWNS)
		b.Openat(launch.Cwd(), ".", unix.O_PATH|unix.O_DIRECTORY, 0).Into(l.tree.Base)
		if l.place == "" {
			b.Openat(launch.Cwd(), "/", unix.O_PATH|unix.O_DIRECTORY, 0).Into(l.tree.Root)
		} else {
			l.unlockRoot()
		}
	}
}

// unlockRoot covers the root with a copy that belongs to the user namespace: what came
// along with the mount table is locked, and cannot become the root of the namespace.
func (l *launcher) unlockRoot() {
	b := l.b
	b.At("attach the root file system in the user namespace",
		launch.Hint{Errno: syscall.EACCES, Text: "with createContainer hooks the path of the bundle must be open to the user namespace's root"})
	below := b.Slot()
	b.Openat(launch.Cwd(), l.place, unix.O_PATH|unix.O_DIRECTORY, 0).Into(below)
	b.CloneTree(launch.In(below), "", unix.AT_RECURSIVE).Into(l.tree.Root)
	b.MoveMount(launch.In(l.tree.Root), launch.In(below))
	b.Close(below)
}

// makeNamespaces unshares what the first clone did not make: the cgroup namespace,
// which shows the groups that the process is in when it is made, and with a user
// namespace all that must belong to it.
func (l *launcher) makeNamespaces() {
	flags := l.ns.create & unix.CLONE_NEWCGROUP
	if l.user != nil {
		flags |= l.ns.create & (unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	}
	if flags != 0 {
		l.b.At("make namespaces", launch.Hint{Errno: syscall.ENOSPC, Text: "the limit in /proc/sys/user is reached"})
		l.b.Unshare(flags)
	}
}

// timeOffsets makes the time namespace for the next child and sets its clocks,
// which is possible until a process is in it.
func (l *launcher) timeOffsets() error {
	b := l.b
	b.At("make a time namespace", launch.Hint{Errno: syscall.EINVAL, Text: "this kernel has no time namespaces"})
	b.Unshare(unix.CLONE_NEWTIME)
	if len(l.linux.TimeOffsets) == 0 {
		return nil
	}
	proc, err := l.procfs()
	if err != nil {
		return err
	}
	if l.user != nil {
		// The change of ids took the process's own /proc files away from it. It is
		// in no PID namespace that a container could look into.
		b.Prctl(unix.PR_SET_DUMPABLE, launch.Int(1), launch.Int(0), launch.Int(0), launch.Int(0))
	}
	text, err := offsetText(l.linux.TimeOffsets)
	if err != nil {
		return err
	}
	b.At("set the clocks of the time namespace", launch.Hint{Errno: syscall.ERANGE, Text: "an offset is out of range"})
	b.WriteFile(proc, "self/timens_offsets", text)
	return nil
}

// forkEarly makes the final process where the first clone could not make it in its
// namespaces. It becomes a child of the caller.
func (l *launcher) forkEarly() {
	b := l.b
	child := b.Label()
	pid := b.Slot()
	b.At("fork the container's first process")
	b.Fork(pid, unix.CLONE_PARENT|l.ns.create&unix.CLONE_NEWPID, child)
	b.Say(launch.Forked, launch.In(pid))
	b.Exit(0)
	b.Mark(child)
	if l.die {
		privs.DieWithParent(b)
	}
}

func offsetText(offsets map[string]specs.LinuxTimeOffset) (string, error) {
	text := ""
	for _, clock := range []string{"monotonic", "boottime"} {
		if o, ok := offsets[clock]; ok {
			text += fmt.Sprintf("%s %d %d\n", clock, o.Secs, o.Nanosecs)
		}
	}
	for clock := range offsets {
		if clock != "monotonic" && clock != "boottime" {
			return "", fault.New(fault.Invalid, "time offset of clock %q: only monotonic and boottime have offsets", clock)
		}
	}
	return text, nil
}
