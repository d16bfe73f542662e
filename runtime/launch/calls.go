package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/weak"
)

// This file names the system calls of a launch, with their types.

// Cwd is AT_FDCWD.
var cwd = Int(unix.AT_FDCWD)

// Cwd is the current directory as a directory argument.
func Cwd() Arg { return cwd }

// Openat2 opens path below dir. The descriptor is close-on-exec.
func (b *Builder) Openat2(dir Arg, path string, flags, mode int, resolve uint64) Step {
	how := b.Space(int(unsafe.Sizeof(unix.OpenHow{})))
	*(*unix.OpenHow)(unsafe.Pointer(&how.bytes[0])) = unix.OpenHow{
		Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: resolve,
	}
	return b.Call(unix.SYS_OPENAT2, dir, b.Str(path), how.Addr(), Int(int(unsafe.Sizeof(unix.OpenHow{}))))
}

// Openat opens path below dir. Only for paths that no container controls.
func (b *Builder) Openat(dir Arg, path string, flags, mode int) Step {
	return b.Call(unix.SYS_OPENAT, dir, b.Str(path), Int(flags|unix.O_CLOEXEC), Int(mode))
}

// Close closes the descriptors in the slots and gives the slots back.
func (b *Builder) Close(slots ...Slot) {
	for _, s := range slots {
		b.Call(unix.SYS_CLOSE, In(s)).Ignore()
		b.Free(s)
	}
}

// Write writes data to fd; a short write goes unnoticed, so only for files of the kernel.
func (b *Builder) Write(fd Arg, data string) Step {
	m := b.Data([]byte(data))
	return b.Call(unix.SYS_WRITE, fd, m.Addr(), Int(len(data)))
}

// WriteFile opens a file of procfs below proc, writes data and closes it.
// Links and mounts on the way are refused (CVE-2025-52881).
func (b *Builder) WriteFile(proc Arg, path, data string) {
	fd := b.Slot()
	if weak.Off("procfs") {
		b.Openat(Cwd(), "/proc/"+path, unix.O_WRONLY, 0).Into(fd)
	} else {
		b.Openat2(proc, path, unix.O_WRONLY, 0,
			unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS).Into(fd)
	}
	b.Write(In(fd), data)
	b.Close(fd)
}

// Setns joins the namespaces of fd.
func (b *Builder) Setns(fd Arg, flags uintptr) Step { return b.Call(unix.SYS_SETNS, fd, Word(flags)) }

// Unshare leaves namespaces for new ones.
func (b *Builder) Unshare(flags uintptr) Step { return b.Call(unix.SYS_UNSHARE, Word(flags)) }

// Fchdir changes the current directory.
func (b *Builder) Fchdir(fd Arg) Step { return b.Call(unix.SYS_FCHDIR, fd) }

// Mount is mount(2). Empty strings are NULL.
func (b *Builder) Mount(source, target, fstype string, flags uintptr, data string) Step {
	return b.Call(unix.SYS_MOUNT, b.optional(source), b.Str(target), b.optional(fstype), Word(flags), b.optional(data))
}

func (b *Builder) optional(s string) Arg {
	if s == "" {
		return Int(0)
	}
	return b.Str(s)
}

// Umount is umount2(2).
func (b *Builder) Umount(target string, flags int) Step {
	return b.Call(unix.SYS_UMOUNT2, b.Str(target), Int(flags))
}

// MoveMount attaches the mount of from at the directory or file of to.
func (b *Builder) MoveMount(from, to Arg) Step {
	empty := b.Str("")
	return b.Call(unix.SYS_MOVE_MOUNT, from, empty, to, empty,
		Int(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

// CloneTree makes a detached copy of the mount at path below dir.
func (b *Builder) CloneTree(dir Arg, path string, flags int) Step {
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return b.Call(unix.SYS_OPEN_TREE, dir, b.Str(path), Int(flags|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC))
}

// SetMountAttr changes the flags or the propagation of the mount of fd (Linux 5.12).
func (b *Builder) SetMountAttr(fd Arg, attr unix.MountAttr, recursive bool) Step {
	m := b.Space(int(unsafe.Sizeof(attr)))
	*(*unix.MountAttr)(unsafe.Pointer(&m.bytes[0])) = attr
	flags := unix.AT_EMPTY_PATH
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return b.Call(unix.SYS_MOUNT_SETATTR, fd, b.Str(""), Int(flags), m.Addr(), Int(int(unsafe.Sizeof(attr))))
}

// Prctl is prctl(2).
func (b *Builder) Prctl(option int, args ...Arg) Step {
	return b.Call(unix.SYS_PRCTL, append([]Arg{Int(option)}, args...)...)
}

// Fork clones the process: the child goes on at the label, the parent with the
// next operation, where slot holds the child's pid. With CLONE_PARENT the new
// process is a child of the launcher. It has no exit signal until its execve.
func (b *Builder) Fork(slot Slot, flags uintptr, child Label) {
	b.Call(unix.SYS_CLONE, Word(flags), Int(0), Int(0), Int(0), Int(0)).Into(slot)
	b.IfZero(slot, child)
}

// Say sends a message without descriptors to the parent.
func (b *Builder) Say(k Kind, value Arg) {
	m := b.record(k)
	b.Store(m, 4, value)
	b.Call(unix.SYS_WRITE, In(Report), m.Addr(), Int(recordSize))
}

func (b *Builder) record(k Kind) Memory {
	m := b.Space(recordSize)
	*(*uint32)(unsafe.Pointer(&m.bytes[0])) = uint32(k)
	return m
}

// Send passes descriptors to the parent (a message of kind Files).
func (b *Builder) Send(fds ...Arg) {
	if len(fds) > MaxFiles {
		b.fail("launch program: too many descriptors in a message")
		return
	}
	rec := b.record(Files)
	iov := b.Space(int(unsafe.Sizeof(unix.Iovec{})))
	*(*[2]uintptr)(unsafe.Pointer(&iov.bytes[0])) = [2]uintptr{rec.at(0).value, recordSize}

	ctl := b.Space(unix.CmsgSpace(4 * len(fds)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&ctl.bytes[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4 * len(fds)))
	for i, fd := range fds {
		b.Store(ctl, unix.CmsgLen(0)+4*i, fd)
	}

	// struct msghdr as words, so that no Go pointer is written.
	msg := b.Space(int(unsafe.Sizeof(unix.Msghdr{})))
	h2 := (*[7]uintptr)(unsafe.Pointer(&msg.bytes[0]))
	h2[2], h2[3] = iov.at(0).value, 1
	h2[4], h2[5] = ctl.at(0).value, uintptr(len(ctl.bytes))
	b.Call(unix.SYS_SENDMSG, In(Report), msg.Addr(), Int(unix.MSG_NOSIGNAL))
}

// Orphan lets the child notice in a Wait that the parent has died: it closes its copy of
// the parent's end of the socket. Only before the program arranges descriptors.
func (b *Builder) Orphan() { b.Call(unix.SYS_CLOSE, In(peer)).Ignore() }

// Wait tells the parent and waits for its Continue.
func (b *Builder) Wait() {
	b.Say(Waits, Int(0))
	buf := b.Space(1)
	got := b.Slot()
	gone := b.Label()
	on := b.Label()
	b.Call(unix.SYS_READ, In(Report), buf.Addr(), Int(1)).Into(got)
	b.IfZero(got, gone)
	b.Goto(on)
	b.Mark(gone)
	b.Fail(syscall.EPIPE)
	b.Mark(on)
	b.Free(got)
}
