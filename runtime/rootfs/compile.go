package rootfs

import (
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// inside is how every path of the container is resolved.
const inside = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

const pathFlags = unix.O_PATH

// Tree is where the child works: descriptors of the container's root and of the base.
type Tree struct{ Root, Base launch.Slot }

// Compile adds the steps from an attached, empty-handed root to the finished one.
// The child has its root directory there already.
func (p *Plan) Compile(b *launch.Builder, t Tree) error {
	for _, m := range p.mounts {
		p.attach(b, t, m)
	}
	if !p.bindDev {
		p.makeDevices(b, t)
		p.makeLinks(b, t)
	}
	return nil
}

// Cover adds the read-only paths and the masks. It needs the base in the mount
// namespace.
func (p *Plan) Cover(b *launch.Builder, t Tree) {
	linux := p.c.Spec.Linux
	if linux == nil {
		linux = &noLinux
	}
	for _, name := range linux.ReadonlyPaths {
		readOnly(b, t, path.Clean("/"+name))
	}
	for _, name := range linux.MaskedPaths {
		if weak.Off("masks") {
			break
		}
		mask(b, t, path.Clean("/"+name))
	}
}

// Seal adds what takes away the right to change the root itself, and each read-only tmpfs:
// devices and targets of mounts are made in those. Nothing can be made in the tree
// afterwards.
func (p *Plan) Seal(b *launch.Builder, t Tree) error {
	propagation := ""
	if p.c.Spec.Linux != nil {
		propagation = p.c.Spec.Linux.RootfsPropagation
	}
	for _, m := range p.mounts {
		if m.late != 0 {
			b.At("make " + m.where + " read-only")
			b.SetMountAttr(launch.In(m.late), unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, false)
			b.Close(m.late)
		}
	}
	if p.c.ReadOnly {
		b.At("make the root file system read-only")
		b.SetMountAttr(launch.In(t.Root), unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, false)
	}
	return rootPropagation(b, t, propagation)
}

func rootPropagation(b *launch.Builder, t Tree, name string) error {
	if name == "" {
		return nil // the tree was made private when it was opened
	}
	typ, deep := propagationOptions[name], false
	if typ == 0 {
		typ, deep = propagationOptions[strings.TrimPrefix(name, "r")], true
	}
	if typ == 0 {
		return fault.New(fault.Invalid, "unknown propagation %q of the root file system (private, shared, slave or unbindable, or with an r in front)", name)
	}
	b.At("set the propagation of the root file system to " + name)
	b.SetMountAttr(launch.In(t.Root), unix.MountAttr{Propagation: uint64(typ)}, deep)
	return nil
}

// resolve opens the target of a mount, and makes it if it is missing.
func resolve(b *launch.Builder, t Tree, to launch.Slot, where string, isDir bool, how uint64) {
	create, done := b.Label(), b.Label()
	root := launch.In(t.Root)
	b.Openat2(root, where, pathFlags, 0, how).Into(to).Else(create, syscall.ENOENT)
	b.Goto(done)

	b.Mark(create)
	parts := strings.Split(strings.TrimPrefix(where, "/"), "/")
	dir := b.Slot()
	for i, name := range parts {
		above := "/" + strings.Join(parts[:i], "/")
		b.Openat2(root, above, pathFlags|unix.O_DIRECTORY, 0, inside).Into(dir)
		if i == len(parts)-1 && !isDir {
			file := b.Slot()
			next := b.Label()
			b.Openat(launch.In(dir), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o644).Into(file).Else(next, syscall.EEXIST)
			b.Close(file)
			b.Mark(next)
		} else {
			b.Call(unix.SYS_MKDIRAT, launch.In(dir), b.Str(name), launch.Int(0o755)).Ignore(syscall.EEXIST)
		}
		b.Call(unix.SYS_CLOSE, launch.In(dir))
	}
	b.Free(dir)
	b.Openat2(root, where, pathFlags, 0, how).Into(to)
	b.Mark(done)
}

// attach adds one mount.
func (p *Plan) attach(b *launch.Builder, t Tree, m *mount) {
	b.AtSite(m.site())
	target := b.Slot()
	how := uint64(inside)
	if (m.fstype == "proc" || m.fstype == "sysfs") && !weak.Off("proclink") {
		how |= unix.RESOLVE_NO_SYMLINKS // an image's /proc that is a link would hide what is masked
	}
	if m.kind == remount {
		b.Openat2(launch.In(t.Root), m.where, pathFlags, 0, how).Into(target)
	} else {
		resolve(b, t, target, m.where, m.isDir, how)
	}
	if !strings.HasPrefix(m.where, "/proc/") && m.where != "/proc" {
		guardProc(b, target)
	}
	switch m.kind {
	case bind:
		p.attachBind(b, t, m, target)
	case foreignProc:
		p.mountForeignProc(b, m, target)
	case cgroupTree:
		p.attachCgroups(b, t, m, target)
	case remount:
		m.change(b, target)
	case fileSystem:
		b.Fchdir(launch.In(target))
		ms := m.opt.ms
		if m.fstype == "tmpfs" && ms&unix.MS_RDONLY != 0 {
			ms &^= unix.MS_RDONLY // see Seal
			m.late = b.Slot()
		}
		made := b.Mount(m.what, ".", m.fstype, ms, strings.Join(m.opt.data, ","))
		if m.tree != nil { // the kernel may refuse: see Plan.kernelFS
			mounted, refused := b.Label(), b.Label()
			made.Else(refused, syscall.EPERM)
			b.Goto(mounted)
			b.Mark(refused)
			b.MoveMount(launch.Int(int(m.tree.Fd())), launch.In(target))
			b.Mark(mounted)
		}
		if m.opt.propagation != 0 || !m.opt.all.empty() {
			top := b.Slot()
			b.Openat2(launch.In(t.Root), m.where, pathFlags, 0, how).Into(top)
			b.SetMountAttr(launch.In(top), unix.MountAttr{
				Attr_set: m.opt.all.set, Attr_clr: m.opt.all.clear, Propagation: uint64(m.opt.propagation),
			}, m.opt.deepProp || !m.opt.all.empty())
			b.Close(top)
		}
		if m.late != 0 {
			b.Openat2(launch.In(t.Root), m.where, pathFlags, 0, how).Into(m.late)
		}
	}
	b.Close(target)
}

// attachBind attaches a bind mount. If its age matters a copy made now is attached. The
// kernel copies only what is in the child's own namespace, so it lies in the base
// meanwhile.
func (p *Plan) attachBind(b *launch.Builder, t Tree, m *mount, target launch.Slot) {
	tree := launch.Int(int(m.tree.Fd()))
	if !p.c.InOrder {
		b.MoveMount(tree, launch.In(target))
		return
	}
	scratch := baseNull
	if m.isDir {
		scratch = baseEmpty
	}
	place, fresh := b.Slot(), b.Slot()
	b.Openat(launch.In(t.Base), scratch, pathFlags, 0).Into(place)
	b.MoveMount(tree, launch.In(place))
	b.CloneTree(tree, "", unix.AT_RECURSIVE).Into(fresh)
	if m.opt.propagation == unix.MS_UNBINDABLE { // from now on it cannot be copied
		b.SetMountAttr(launch.In(fresh), unix.MountAttr{Propagation: unix.MS_UNBINDABLE}, m.opt.deepProp)
	}
	b.Fchdir(launch.In(t.Base))
	b.Umount(scratch, unix.MNT_DETACH)
	b.MoveMount(launch.In(fresh), launch.In(target))
	b.Close(place, fresh)
}

// change adds a remount: of the mount's own flags with the option bind, as in mount(8),
// of the file system's otherwise.
func (m *mount) change(b *launch.Builder, target launch.Slot) {
	if !m.opt.bind {
		b.Fchdir(launch.In(target))
		b.Mount("", ".", "", m.opt.ms|unix.MS_REMOUNT, strings.Join(m.opt.data, ","))
	}
	for _, a := range []struct {
		attrs
		deep bool
	}{{m.opt.all, true}, {m.opt.top, false}} {
		if !a.empty() {
			b.SetMountAttr(launch.In(target), unix.MountAttr{Attr_set: a.set, Attr_clr: a.clear}, a.deep)
		}
	}
	if m.opt.propagation != 0 {
		b.SetMountAttr(launch.In(target), unix.MountAttr{Propagation: uint64(m.opt.propagation)}, m.opt.deepProp)
	}
}

// site is the sentence for a failed mount.
func (m *mount) site() launch.Site {
	s := launch.Site{What: "mount " + m.what + " at " + m.where, Class: fault.Invalid}
	hint := func(e syscall.Errno, text string) { s.Hints = append(s.Hints, launch.Hint{Errno: e, Text: text}) }
	kindOf := "file"
	if m.isDir {
		kindOf = "directory"
	}
	hint(syscall.ENOTDIR, "the source is a "+kindOf+" and the target, or a part of its path, is not a directory")
	if m.kind == remount {
		s.What = "change the mount at " + m.where
		hint(syscall.EINVAL, "nothing is mounted there")
		hint(syscall.ENOENT, "nothing is there")
	}
	if m.kind == bind {
		hint(syscall.EINVAL, "one of source and target is a directory, the other a file")
	} else {
		hint(syscall.EINVAL, "the file system does not take one of the options "+strings.Join(m.opt.data, ","))
	}
	hint(syscall.ENODEV, "this kernel has no file system of type "+m.fstype)
	hint(syscall.EROFS, "the target does not exist, and the file system around it is read-only")
	if m.fstype == "proc" || m.fstype == "sysfs" {
		hint(syscall.ELOOP, "the target is a symbolic link: a "+m.fstype+" must be mounted on ordinary directory")
	}
	hint(syscall.ELOOP, "the target is a symbolic link that may not be followed")
	hint(syscall.ENXIO, "the target leads into a procfs, where nothing may be mounted")
	hint(syscall.EPERM, "the kernel does not allow this mount in the container's user namespace, or the engine lacks rights")
	return s
}

// guardProc refuses a target that links led into a procfs: what is mounted there
// could fake the state of processes (CVE-2023-28642, CVE-2019-19921).
func guardProc(b *launch.Builder, target launch.Slot) {
	fine := b.Label()
	typ := b.Slot()
	st := b.Space(statfsSize)
	b.Call(unix.SYS_FSTATFS, launch.In(target), st.Addr())
	b.Load(typ, st, 0, 0xffffffff)
	b.IfNot(typ, unix.PROC_SUPER_MAGIC, fine)
	b.Fail(syscall.ENXIO)
	b.Mark(fine)
	b.Free(typ)
}

// mountForeignProc mounts the procfs of a PID namespace that the child has not
// entered: a process inside it that still has rights on the host could be traced by
// the processes there. It takes the option pidns of Linux 6.18.
func (p *Plan) mountForeignProc(b *launch.Builder, m *mount, target launch.Slot) {
	b.At("mount the procfs of the joined PID namespace at " + m.where)
	fs, tree := b.Slot(), b.Slot()
	b.Call(unix.SYS_FSOPEN, b.Str("proc"), launch.Int(unix.FSOPEN_CLOEXEC)).Into(fs)
	b.Call(unix.SYS_FSCONFIG, launch.In(fs), launch.Int(unix.FSCONFIG_SET_FD), b.Str("pidns"), launch.Int(0), launch.Int(int(p.c.PIDNS.Fd())))
	b.Call(unix.SYS_FSCONFIG, launch.In(fs), launch.Int(unix.FSCONFIG_CMD_CREATE), launch.Int(0), launch.Int(0), launch.Int(0))
	b.Call(unix.SYS_FSMOUNT, launch.In(fs), launch.Int(unix.FSMOUNT_CLOEXEC), launch.Word(uintptr(m.opt.top.set))).Into(tree)
	b.MoveMount(launch.In(tree), launch.In(target))
	b.Close(fs, tree)
}

// attachCgroups lays out the v1 hierarchies in a tmpfs.
func (p *Plan) attachCgroups(b *launch.Builder, t Tree, m *mount, target launch.Slot) {
	b.Fchdir(launch.In(target))
	b.Mount("tmpfs", ".", "tmpfs", m.opt.ms&^unix.MS_RDONLY, "mode=755,size=64k,nr_inodes=256")
	top, dir := b.Slot(), b.Slot()
	b.Openat2(launch.In(t.Root), m.where, pathFlags|unix.O_DIRECTORY, 0, inside).Into(top)
	for _, g := range m.groups {
		b.Call(unix.SYS_MKDIRAT, launch.In(top), b.Str(g.name), launch.Int(0o755))
		b.Openat(launch.In(top), g.name, pathFlags|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0).Into(dir)
		b.MoveMount(launch.Int(int(g.tree.Fd())), launch.In(dir))
		b.Call(unix.SYS_CLOSE, launch.In(dir))
		for _, alias := range g.alias {
			b.Call(unix.SYS_SYMLINKAT, b.Str(g.name), launch.In(top), b.Str(alias))
		}
	}
	if m.opt.ms&unix.MS_RDONLY != 0 {
		b.SetMountAttr(launch.In(top), unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, false)
	}
	b.Free(dir)
	b.Close(top)
}

// readOnly covers a path with a read-only copy of itself. A missing path is fine.
func readOnly(b *launch.Builder, t Tree, where string) {
	b.At("make " + where + " read-only in the container")
	target, tree := b.Slot(), b.Slot()
	done := b.Label()
	b.Openat2(launch.In(t.Root), where, pathFlags, 0, inside).Into(target).Else(done, syscall.ENOENT, syscall.ENOTDIR)
	b.CloneTree(launch.In(target), "", unix.AT_RECURSIVE).Into(tree)
	b.SetMountAttr(launch.In(tree), unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, true)
	b.MoveMount(launch.In(tree), launch.In(target))
	b.Close(tree, target)
	b.Mark(done)
}

// mask covers a directory with an empty one and anything else with the null device.
// Both come from the base: a source in the container could be a link to whatever
// its image wants to have mounted there (CVE-2025-31133).
func mask(b *launch.Builder, t Tree, where string) {
	b.At("mask " + where + " in the container")
	target, tree := b.Slot(), b.Slot()
	file, attach, done := b.Label(), b.Label(), b.Label()
	if weak.Off("masksource") {
		b.Openat2(launch.In(t.Root), where, pathFlags, 0, inside).Into(target)
		b.CloneTree(launch.Cwd(), "/null", 0).Into(tree)
		b.MoveMount(launch.In(tree), launch.In(target))
		return
	}
	b.Openat2(launch.In(t.Root), where, pathFlags|unix.O_DIRECTORY, 0, inside).Into(target).Else(file, syscall.ENOTDIR, syscall.ENOENT)
	b.CloneTree(launch.In(t.Base), baseEmpty, 0).Into(tree)
	b.Goto(attach)
	b.Mark(file)
	b.Openat2(launch.In(t.Root), where, pathFlags, 0, inside).Into(target).Else(done, syscall.ENOTDIR, syscall.ENOENT)
	b.CloneTree(launch.In(t.Base), baseNull, 0).Into(tree)
	b.Mark(attach)
	b.MoveMount(launch.In(tree), launch.In(target))
	b.Close(tree, target)
	b.Mark(done)
}

// Directory adds the steps that open a directory of the container, and make it if
// it is missing: the working directory.
func Directory(b *launch.Builder, t Tree, to launch.Slot, where string) {
	resolve(b, t, to, path.Clean("/"+where), true, inside)
}

// Devpts says whether the specification mounts a devpts at /dev/pts.
func (p *Plan) Devpts() bool {
	return slices.ContainsFunc(p.mounts, func(m *mount) bool { return m.where == devpts && m.fstype == "devpts" })
}
