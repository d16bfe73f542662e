package rootfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// madeInside says whether a file system is made by the child: what it shows depends on
// the namespaces it is made in, or what it holds shall belong to them. Anything else
// takes paths in its source and options, and those are the host's.
func madeInside(fstype string) bool {
	switch fstype {
	case "proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "bpf", "binder":
		return true
	}
	return false
}

// fromHost makes a file system detached, by the rights and paths of the caller.
func (p *Plan) fromHost(m *mount, s *specs.Mount) error {
	m.kind = bind
	var err error
	if s.Type == "overlay" {
		o := mountapi.Overlay{}
		for _, opt := range m.opt.data {
			switch key, value, _ := strings.Cut(opt, "="); key {
			case "lowerdir":
				o.Lower = splitLayers(value)
			case "upperdir":
				o.Upper = value
			case "workdir":
				o.Work = value
			default:
				o.Params = append(o.Params, mountapi.Param{Key: key, Value: value})
			}
		}
		m.tree, err = OpenOverlay(o)
	} else {
		m.tree, err = mountapi.New(s.Type, int(m.opt.top.set), m.params(s)...)
	}
	if errors.Is(err, unix.ENODEV) {
		return fault.New(fault.Invalid, "mount %s at %s: no such device (this kernel has no file system of type %s)", s.Source, m.where, s.Type)
	}
	if err != nil {
		return fault.New(fault.Invalid, "mount %s at %s: %w", s.Source, m.where, err)
	}
	p.keep(m.tree)
	m.opt.data, m.opt.onlyFS = nil, nil
	if err := p.shape(m, s); err != nil {
		return fmt.Errorf("mount %s at %s: set its options: %w", s.Source, m.where, err)
	}
	return nil
}

// params are the parameters of the file system itself.
func (m *mount) params(s *specs.Mount) []mountapi.Param {
	list := []mountapi.Param{}
	if s.Source != "" {
		list = append(list, mountapi.Param{Key: "source", Value: s.Source})
	}
	if m.opt.ms&unix.MS_RDONLY != 0 && s.Type != "tmpfs" {
		list = append(list, mountapi.Param{Key: "ro"})
	}
	for _, opt := range append(slices.Clone(m.opt.onlyFS), m.opt.data...) {
		key, value, _ := strings.Cut(opt, "=")
		list = append(list, mountapi.Param{Key: key, Value: value})
	}
	return list
}

// splitLayers takes overlay's lowerdir apart: "\:" is a colon in a name.
func splitLayers(list string) (dirs []string) {
	dir := ""
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '\\' && i+1 < len(list):
			i++
			dir += list[i : i+1]
		case list[i] == ':':
			dirs, dir = append(dirs, dir), ""
		default:
			dir += list[i : i+1]
		}
	}
	return append(dirs, dir)
}

// copyUp makes a tmpfs that begins with the content of the directory it covers.
func (p *Plan) copyUp(m *mount, s *specs.Mount) error {
	if s.Type != "tmpfs" {
		return fmt.Errorf("mount %s at %s: the option tmpcopyup is for a tmpfs", s.Source, m.where)
	}
	readOnly := m.opt.top.set & unix.MOUNT_ATTR_RDONLY
	m.opt.top.set &^= readOnly
	old, err := inroot.From(p.root).Open(m.where, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil {
		defer old.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(old.Fd()), &st); err == nil {
			m.opt.data = append([]string{fmt.Sprintf("mode=%04o", st.Mode&0o7777), fmt.Sprintf("uid=%d", st.Uid), fmt.Sprintf("gid=%d", st.Gid)}, m.opt.data...)
		}
	} else if !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("mount %s at %s: open what it covers: %s", s.Source, m.where, plain(err))
	}
	if err := p.fromHost(m, s); err != nil {
		return err
	}
	if old != nil {
		top, err := unix.Openat(int(m.tree.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(top)
		if err := copyTree(int(old.Fd()), top, 0); err != nil {
			return fmt.Errorf("mount %s at %s: copy what it covers: %w", s.Source, m.where, err)
		}
	}
	if readOnly == 0 {
		return nil
	}
	return mountapi.SetAttr(m.tree, mountapi.Attr{Set: readOnly}, false)
}

// Unmount takes back what AttachHost made of the root at path in the host's mount
// namespace, and nothing else: below such a root there always is a base.
func Unmount(dir string) error {
	dir = path.Clean(dir)
	for {
		stack, err := mountsAt(dir)
		if err != nil || !slices.Contains(stack, "tmpfs "+baseSource) {
			return err
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
}

// mountsAt lists type and source of what is mounted at a directory, in any order.
func mountsAt(dir string) ([]string, error) {
	data, err := readProc("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(data) {
		front, back, ok := strings.Cut(line, " - ")
		f := strings.Fields(front)
		if !ok || len(f) < 5 || unescape(f[4]) != dir {
			continue
		}
		if b := strings.Fields(back); len(b) >= 2 {
			list = append(list, b[0]+" "+b[1])
		}
	}
	return list, nil
}
