package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/privs"
)

// Config is what the file system depends on beside the specification.
type Config struct {
	Spec     *specs.Spec
	Bundle   string            // base of relative bind sources
	UserNS   bool              // the mounts are made in another user namespace
	IDMap    *os.File          // a user namespace with the maps of Spec, for mounts with these; or nil
	Nested   bool              // the caller, and so the container, is not in the machine's first one
	OwnNet   bool              // the network namespace belongs to that user namespace
	OwnPID   bool              // the PID namespace is new
	PIDNS    *os.File          // the PID namespace that is joined, or nil
	Cgroups  map[string]string // the group's directory for each controller
	ReadOnly bool              // the root becomes read-only
	Label    string            // SELinux context of the mounts made here; empty where there is no SELinux
	InOrder  bool              // the mount table lists the mounts as Spec does
	Warn     func(string)      // never nil
}

// kind is the way in which a mount is made.
type kind int

const (
	fileSystem  kind = iota // mount(2) in the child
	bind                    // a detached copy from the host
	cgroupTree              // the container's control groups
	foreignProc             // procfs of a PID namespace in which the child is not
	remount                 // a change of what is mounted there already
)

// mount is one mount of the specification, ready to be compiled.
type mount struct {
	kind   kind
	what   string // for messages: the source
	where  string // target, clean and absolute in the container
	fstype string
	opt    options
	tree   *os.File // bind: the detached copy
	isDir  bool
	groups []group     // cgroupTree
	late   launch.Slot // a tmpfs that becomes read-only when everything in it is made
}

// group is a hierarchy of a cgroupTree.
type group struct {
	name  string
	tree  *os.File
	alias []string // names of co-mounted controllers
}

// Plan is a prepared root file system.
type Plan struct {
	c       Config
	root    *os.File
	mounts  []*mount
	devices []device
	bindDev bool // /dev comes from the host: leave its content alone
	files   []*os.File
}

// Prepare opens everything that lies on the host and makes the targets of mounts
// that lie directly in the root. root is a detached mount.
func Prepare(root *os.File, c Config) (plan *Plan, retErr error) {
	p := &Plan{c: c, root: root}
	defer func() {
		if retErr != nil {
			p.Close()
		}
	}()
	tree := inroot.From(root) // never closed: the file is the caller's
	for i := range c.Spec.Mounts {
		m, err := p.mount(&c.Spec.Mounts[i])
		if err != nil {
			return nil, err
		}
		if err := p.target(tree, m); err != nil {
			return nil, err
		}
		p.mounts = append(p.mounts, m)
		if m.where == "/dev" && m.kind == bind {
			p.bindDev = true
		}
	}
	if err := p.prepareDevices(); err != nil {
		return nil, err
	}
	return p, nil
}

// Close closes what Prepare opened.
func (p *Plan) Close() {
	for _, f := range p.files {
		f.Close()
	}
	p.files = nil
}

func (p *Plan) keep(f *os.File) *os.File {
	p.files = append(p.files, f)
	return f
}

func (p *Plan) mount(s *specs.Mount) (*mount, error) {
	o := parseOptions(s.Options)
	m := &mount{what: s.Source, where: path.Clean("/" + s.Destination), fstype: s.Type, opt: o, isDir: true}
	var err error
	if m.where == "/" {
		return nil, fault.New(fault.Invalid, "mount %s at /: the root cannot be mounted over", s.Source)
	}
	mapped := len(s.UIDMappings)+len(s.GIDMappings) > 0 || o.idmap
	switch {
	case o.remount:
		m.kind, m.what = remount, "what is there"
	case o.bind || s.Type == "bind":
		m.kind = bind
		err = p.bind(m, s)
	case s.Type == "cgroup" || s.Type == "cgroup2":
		m.kind = cgroupTree
		err = p.cgroups(m)
	case s.Type == "sysfs" && (p.c.UserNS || p.c.Nested) && !p.c.OwnNet:
		// The kernel lets nobody mount a sysfs that shows a network namespace of
		// a more privileged user namespace; the host's serves, as in runc.
		m.opt.all.apply(flagOptions["ro"])
		err = p.hostKernelFS(m, "/sys")
	case s.Type == "proc" && p.c.PIDNS != nil:
		err = p.foreignProc(m)
	case s.Type == "proc" && (p.c.UserNS || p.c.Nested) && !p.c.OwnPID:
		err = p.hostKernelFS(m, "/proc")
	case p.c.Nested && (s.Type == "proc" || s.Type == "sysfs"):
		err = p.kernelFS(m)
	case s.Type == "":
		err = fault.New(fault.Invalid, "mount %s at %s: it has neither a type nor the option bind", s.Source, m.where)
	case o.copyUp:
		err = p.copyUp(m, s)
	case mapped || !madeInside(s.Type):
		err = p.fromHost(m, s)
	}
	if err != nil {
		return nil, err
	}
	if m.what == "" {
		m.what = m.fstype
	}
	if m.kind == fileSystem && p.c.Label != "" && m.fstype != "proc" && m.fstype != "sysfs" {
		m.opt.data = append(m.opt.data, `context="`+p.c.Label+`"`)
	}
	return m, p.checkProc(m)
}

// procFiles may be mounted over in /proc: what LXCFS provides.
var procFiles = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev", "/proc/slabinfo",
	"/proc/stat", "/proc/swaps", "/proc/sys/kernel/ns_last_pid", "/proc/uptime",
}

// checkProc refuses what would fake /proc (CVE-2019-16884, CVE-2019-19921). Links
// that lead into /proc are found by the child (Plan.guardProc).
func (p *Plan) checkProc(m *mount) error {
	switch {
	case m.where == "/proc":
		if m.fstype == "proc" || m.kind == bind && isProc(m.tree) {
			return nil
		}
	case strings.HasPrefix(m.where, "/proc/"):
		if slices.Contains(procFiles, m.where) {
			return nil
		}
	default:
		return nil
	}
	return fault.New(fault.Invalid, "mount %s at %s: only a procfs may be mounted at /proc, and nothing of one's own inside it", m.what, m.where)
}

func isProc(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// bind opens the source and applies the options to the copy, which nobody sees yet.
func (p *Plan) bind(m *mount, s *specs.Mount) error {
	source := s.Source
	if !filepath.IsAbs(source) {
		source = filepath.Join(p.c.Bundle, source)
	}
	tree, err := mountapi.CloneTree(source, m.opt.deepBind)
	if err != nil {
		return bindError(source, m.where, err)
	}
	m.tree = p.keep(tree)
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return bindError(source, m.where, err)
	}
	m.isDir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	if len(m.opt.onlyFS) > 0 {
		p.c.Warn(fmt.Sprintf("mount %s at %s: the options %s belong to a whole file system and have no effect on a bind mount",
			source, m.where, strings.Join(m.opt.onlyFS, ", ")))
	}
	if len(m.opt.data) > 0 {
		// mount(2) ignores data for MS_BIND, so runtimes do; specifications have it.
		p.c.Warn(fmt.Sprintf("mount %s at %s: the options %s are for a file system and have no effect on a bind mount",
			source, m.where, strings.Join(m.opt.data, ", ")))
	}
	if err := p.shape(m, s); err != nil {
		return fmt.Errorf("mount %s at %s: set its options: %w", source, m.where, err)
	}
	return nil
}

// setAttr sets flags of a copy. In a user namespace those that the host's mount has are
// locked: they stay, as with runc.
func (p *Plan) setAttr(m *mount, a mountapi.Attr, deep bool) error {
	err := mountapi.SetAttr(m.tree, a, deep)
	if p.c.Nested && a.Clear != 0 && errors.Is(err, unix.EPERM) {
		p.c.Warn(fmt.Sprintf("mount %s at %s: options that the host's mount has, such as ro, nosuid, nodev and noexec, stay: a user namespace cannot take them off", m.what, m.where))
		a.Clear = 0
		return mountapi.SetAttr(m.tree, a, deep)
	}
	return err
}

// shape sets propagation, flags and id map of a copy.
func (p *Plan) shape(m *mount, s *specs.Mount) error {
	// Without an option a mount receives from the host and tells it nothing, as
	// with runc, whose root is a slave of the host's.
	prop, deep := uint64(m.opt.propagation), m.opt.deepProp
	if prop == 0 || prop == unix.MS_UNBINDABLE && p.c.InOrder {
		prop, deep = unix.MS_SLAVE, true
	}
	if err := mountapi.SetAttr(m.tree, mountapi.Attr{Propagation: prop}, deep); err != nil {
		return err
	}
	if uids, gids := s.UIDMappings, s.GIDMappings; len(uids)+len(gids) > 0 || m.opt.idmap {
		if len(uids)+len(gids) == 0 && p.c.Spec.Linux != nil {
			// config.md, mounts: without a map of its own it gets the container's.
			uids, gids = p.c.Spec.Linux.UIDMappings, p.c.Spec.Linux.GIDMappings
		}
		if len(uids) == 0 || len(gids) == 0 {
			return fault.New(fault.Invalid, "the option idmap needs uidMappings and gidMappings, of the mount or of the container")
		}
		ns := p.c.IDMap
		if l := p.c.Spec.Linux; ns == nil || l == nil || !slices.Equal(uids, l.UIDMappings) || !slices.Equal(gids, l.GIDMappings) {
			var err error
			if ns, err = privs.NewUserNS(uids, gids); err != nil {
				return err
			}
			defer ns.Close()
		}
		if err := mountapi.SetAttr(m.tree, mountapi.Attr{UserNS: ns}, m.opt.deepIDMap); err != nil {
			return fmt.Errorf("map its owners (the file system must support idmapped mounts): %w", err)
		}
	}
	for _, a := range []struct {
		attrs
		deep bool
	}{{m.opt.all, true}, {m.opt.top, false}} {
		if a.empty() {
			continue
		}
		if err := p.setAttr(m, mountapi.Attr{Set: a.set, Clear: a.clear}, a.deep); err != nil {
			return err
		}
	}
	return nil
}

// bindError is the sentence for a source that cannot be opened.
func bindError(source, where string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fault.New(fault.Invalid,
			"mount %s at %s: no such file or directory (the source is missing on the host; create it, or use -v NAME:%s)", source, where, where)
	case errors.Is(err, unix.ENOTDIR):
		return fault.New(fault.Invalid, "mount %s at %s: a part of the source's path is not a directory", source, where)
	case errors.Is(err, unix.EINVAL):
		return fault.New(fault.Invalid, "mount %s at %s: %w (something is mounted below the source, and a user namespace may only take all of it: use rbind)", source, where, err)
	}
	return fmt.Errorf("mount %s at %s: open the source: %s", source, where, plain(err))
}

// target makes the target of a mount if it lies directly in the root, where the
// parent can follow links whose ends do not exist yet. Targets inside other mounts
// are the child's: they exist only there. With a user namespace the child makes
// all of them, as their owner.
func (p *Plan) target(tree *inroot.Root, m *mount) error {
	if p.c.UserNS {
		return nil
	}
	for _, outer := range p.mounts {
		if strings.HasPrefix(m.where, outer.where+"/") {
			return nil
		}
	}
	if m.kind == remount {
		return nil
	}
	st, err := tree.Stat(m.where)
	if err == nil {
		p.inherit(m, st)
		return nil
	}
	if !errors.Is(err, unix.ENOENT) {
		return nil // the child names the reason
	}
	if weak.Off("inroot") {
		return os.MkdirAll(fmt.Sprintf("/proc/self/fd/%d%s", p.root.Fd(), m.where), 0o755)
	}
	var f *os.File
	if m.isDir {
		f, err = tree.MkdirAll(m.where, fs.FileMode(0o755))
	} else {
		f, err = tree.MkfileAll(m.where, fs.FileMode(0o644))
	}
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, unix.EROFS) {
		return fault.New(fault.Invalid, "mount %s at %s: the target does not exist in the image, and the root file system is read-only", m.what, m.where)
	}
	return fmt.Errorf("mount %s at %s: make the target: %s", m.what, m.where, plain(err))
}

// inherit gives a tmpfs the mode of the directory it covers, as runc does.
func (p *Plan) inherit(m *mount, st *unix.Stat_t) {
	if m.kind != fileSystem || m.fstype != "tmpfs" || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	for _, d := range m.opt.data {
		if strings.HasPrefix(d, "mode=") {
			return
		}
	}
	m.opt.data = append(m.opt.data, fmt.Sprintf("mode=%04o", st.Mode&0o7777))
}

// cgroups opens the container's group in every hierarchy. Binds of the groups
// look the same as mounts made in a cgroup namespace, and work without one.
func (p *Plan) cgroups(m *mount) error {
	if unified, ok := p.c.Cgroups[""]; ok && (len(p.c.Cgroups) == 1 || m.fstype == "cgroup2") {
		tree, err := mountapi.CloneTree(unified, false)
		if err != nil {
			return fmt.Errorf("mount the control group at %s: %s", m.where, plain(err))
		}
		m.kind, m.tree, m.what = bind, p.keep(tree), "the control group"
		m.opt.data, m.opt.onlyFS = nil, nil
		return p.shape(m, &specs.Mount{})
	}
	byPath := map[string]*group{}
	for controller, dir := range p.c.Cgroups {
		if controller == "" {
			controller = "unified"
		}
		name := strings.TrimPrefix(controller, "name=")
		if g, ok := byPath[dir]; ok {
			g.alias = append(g.alias, name)
			continue
		}
		tree, err := mountapi.CloneTree(dir, false)
		if err != nil {
			return fmt.Errorf("mount the control group %s at %s: %s", dir, m.where, plain(err))
		}
		p.keep(tree)
		// The hierarchies must never become writable just because the tmpfs around
		// them is: read-only is a property of each mount.
		attr := mountapi.Attr{Set: m.opt.top.set, Clear: m.opt.top.clear, Propagation: unix.MS_PRIVATE}
		if weak.Off("cgroupro") {
			attr.Set = 0
		}
		if err := mountapi.SetAttr(tree, attr, false); err != nil {
			return fmt.Errorf("mount the control group %s at %s: %w", dir, m.where, err)
		}
		byPath[dir] = &group{name: name, tree: tree, alias: []string{name}}
	}
	for _, g := range byPath {
		slices.Sort(g.alias)
		g.name = strings.Join(g.alias, ",")
		if len(g.alias) == 1 {
			g.alias = nil
		}
		m.groups = append(m.groups, *g)
	}
	slices.SortFunc(m.groups, func(a, b group) int { return strings.Compare(a.name, b.name) })
	return nil
}
