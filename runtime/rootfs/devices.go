package rootfs

import (
	"fmt"
	"os"
	"path"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/launch"
)

const (
	statfsSize = int(unsafe.Sizeof(unix.Statfs_t{}))
	statxSize  = int(unsafe.Sizeof(unix.Statx_t{}))
)

var noLinux specs.Linux

// device is a device node of the container.
type device struct {
	where    string
	mode     uint32 // type and permissions
	dev      uint64
	uid, gid uint32
	tree     *os.File // the host's node, where nodes cannot be made
}

// defaultDevices exist in every container (OCI runtime specification, config-linux).
var defaultDevices = []device{
	{where: "/dev/null", dev: unix.Mkdev(1, 3)},
	{where: "/dev/zero", dev: unix.Mkdev(1, 5)},
	{where: "/dev/full", dev: unix.Mkdev(1, 7)},
	{where: "/dev/random", dev: unix.Mkdev(1, 8)},
	{where: "/dev/urandom", dev: unix.Mkdev(1, 9)},
	{where: "/dev/tty", dev: unix.Mkdev(5, 0)},
}

// defaultLinks are made beside them.
var defaultLinks = [...][2]string{
	{"/proc/self/fd", "fd"},
	{"/proc/self/fd/0", "stdin"},
	{"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"},
	{"/proc/kcore", "core"},
	{"pts/ptmx", "ptmx"},
}

// prepareDevices merges the devices of the specification over the default ones.
func (p *Plan) prepareDevices() error {
	for _, d := range defaultDevices {
		d.mode = unix.S_IFCHR | 0o666
		p.devices = append(p.devices, d)
	}
	if p.c.Spec.Linux != nil {
		for _, s := range p.c.Spec.Linux.Devices {
			d, err := parseDevice(s)
			if err != nil {
				return err
			}
			p.addDevice(d)
		}
	}
	if !p.c.UserNS && !p.c.Nested {
		return nil
	}
	// A user namespace may not make nodes, but it may attach the host's.
	for i := range p.devices {
		d := &p.devices[i]
		if d.mode&unix.S_IFMT == unix.S_IFIFO {
			continue
		}
		tree, err := hostDevice(*d)
		if err != nil {
			return err
		}
		d.tree = p.keep(tree)
	}
	return nil
}

func (p *Plan) addDevice(d device) {
	for i := range p.devices {
		if p.devices[i].where == d.where {
			p.devices[i] = d
			return
		}
	}
	p.devices = append(p.devices, d)
}

func parseDevice(s specs.LinuxDevice) (device, error) {
	d := device{where: path.Clean("/" + s.Path), mode: 0o666, dev: unix.Mkdev(uint32(s.Major), uint32(s.Minor))}
	switch s.Type {
	case "c", "u":
		d.mode |= unix.S_IFCHR
	case "b":
		d.mode |= unix.S_IFBLK
	case "p":
		d.mode |= unix.S_IFIFO
		d.dev = 0
	default:
		return d, fault.New(fault.Invalid, "device %s: unknown type %q (c, u, b or p)", s.Path, s.Type)
	}
	const maxMajor, maxMinor = 1<<12 - 1, 1<<20 - 1 // linux/kdev_t.h
	if s.Major < 0 || s.Minor < 0 || s.Major > maxMajor || s.Minor > maxMinor {
		return d, fault.New(fault.Invalid, "device %s: there is no device number %d:%d", s.Path, s.Major, s.Minor)
	}
	if d.where == "/" {
		return d, fault.New(fault.Invalid, "a device has no path")
	}
	if s.FileMode != nil {
		d.mode = d.mode&unix.S_IFMT | uint32(s.FileMode.Perm())
	}
	if s.UID != nil {
		d.uid = *s.UID
	}
	if s.GID != nil {
		d.gid = *s.GID
	}
	return d, nil
}

// hostDevice copies the mount of the host's node of the same path, after a check
// that it is the device meant.
func hostDevice(d device) (*os.File, error) {
	tree, err := mountapi.CloneTree(d.where, false)
	if err != nil {
		return nil, fmt.Errorf("device %s: in a user namespace the host's node is used: %s", d.where, plain(err))
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(tree.Fd()), &st); err == nil &&
		(st.Mode&unix.S_IFMT != d.mode&unix.S_IFMT || uint64(st.Rdev) != d.dev) {
		err = fault.New(fault.Invalid, "device %s: the host's node of that name is another device, and a user namespace cannot make one", d.where)
	}
	if err == nil {
		err = mountapi.SetAttr(tree, mountapi.Attr{Propagation: unix.MS_PRIVATE}, false)
	}
	if err != nil {
		tree.Close()
		return nil, err
	}
	return tree, nil
}

// makeDevices adds the device nodes.
func (p *Plan) makeDevices(b *launch.Builder, t Tree) {
	open := ""
	dir := b.Slot()
	for _, d := range p.devices {
		b.AtSite(launch.Site{What: "make device " + d.where, Hints: []launch.Hint{
			{Errno: syscall.EPERM, Text: "the container's device rules do not allow to make it (m)"},
			{Errno: syscall.EEXIST, Text: "the image has something else there"},
		}})
		if up := path.Dir(d.where); up != open {
			if open != "" {
				b.Call(unix.SYS_CLOSE, launch.In(dir))
			}
			resolve(b, t, dir, up, true, inside)
			open = up
		}
		if d.tree != nil {
			p.bindDevice(b, dir, d)
			continue
		}
		makeNode(b, dir, d)
	}
	b.Close(dir)
}

// makeNode makes a node, or accepts the same node where the image has it.
func makeNode(b *launch.Builder, dir launch.Slot, d device) {
	name := b.Str(path.Base(d.where))
	exists, done := b.Label(), b.Label()
	b.Call(unix.SYS_MKNODAT, launch.In(dir), name, launch.Word(uintptr(d.mode)), launch.Word(uintptr(d.dev))).Else(exists, syscall.EEXIST)
	if d.uid != 0 || d.gid != 0 {
		b.Call(unix.SYS_FCHOWNAT, launch.In(dir), name, launch.Word(uintptr(d.uid)), launch.Word(uintptr(d.gid)), launch.Int(unix.AT_SYMLINK_NOFOLLOW))
	}
	b.Goto(done)
	b.Mark(exists)
	wrong := b.Label()
	field := b.Slot()
	st := b.Space(statxSize)
	var layout unix.Statx_t
	b.Call(unix.SYS_STATX, launch.In(dir), name, launch.Int(unix.AT_SYMLINK_NOFOLLOW), launch.Int(unix.STATX_TYPE), st.Addr())
	b.Load(field, st, int(unsafe.Offsetof(layout.Mode)), unix.S_IFMT)
	b.IfNot(field, uintptr(d.mode&unix.S_IFMT), wrong)
	if d.mode&unix.S_IFMT != unix.S_IFIFO {
		b.Load(field, st, int(unsafe.Offsetof(layout.Rdev_major)), 0xffffffff)
		b.IfNot(field, uintptr(unix.Major(d.dev)), wrong)
		b.Load(field, st, int(unsafe.Offsetof(layout.Rdev_minor)), 0xffffffff)
		b.IfNot(field, uintptr(unix.Minor(d.dev)), wrong)
	}
	b.Goto(done)
	b.Mark(wrong)
	b.Fail(syscall.EEXIST)
	b.Mark(done)
	b.Free(field)
}

// bindDevice attaches the host's node.
func (p *Plan) bindDevice(b *launch.Builder, dir launch.Slot, d device) {
	placeFile(b, dir, path.Base(d.where), launch.Int(int(d.tree.Fd())))
}

// placeFile makes an empty file and attaches a mount there. A link at that name is
// refused (CVE-2025-52565).
func placeFile(b *launch.Builder, dir launch.Slot, name string, tree launch.Arg) {
	fd := b.Slot()
	exists := b.Label()
	b.Openat(launch.In(dir), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600).Into(fd).Else(exists, syscall.EEXIST)
	b.Call(unix.SYS_CLOSE, launch.In(fd))
	b.Mark(exists)
	if weak.Off("console") {
		b.Openat(launch.In(dir), name, pathFlags, 0).Into(fd)
	} else {
		b.Openat2(launch.In(dir), name, pathFlags, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS).Into(fd)
	}
	b.MoveMount(tree, launch.In(fd))
	b.Close(fd)
}

// makeLinks adds the links of /dev.
func (p *Plan) makeLinks(b *launch.Builder, t Tree) {
	b.At("make the links in /dev", launch.Hint{Errno: syscall.EROFS, Text: "mount a tmpfs at /dev"})
	dir := b.Slot()
	resolve(b, t, dir, "/dev", true, inside)
	// An image's own ptmx would belong to the host's devpts.
	b.Call(unix.SYS_UNLINKAT, launch.In(dir), b.Str("ptmx"), launch.Int(0)).Ignore(syscall.ENOENT)
	for _, l := range defaultLinks {
		b.Call(unix.SYS_SYMLINKAT, b.Str(l[0]), launch.In(dir), b.Str(l[1])).Ignore(syscall.EEXIST)
	}
	b.Close(dir)
}
