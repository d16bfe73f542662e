// Package cgroup creates, limits, empties and removes the control groups of
// containers.
//
// A Group is one path below every hierarchy of the machine: on cgroup v1 one
// directory per hierarchy, on v2 one directory, on a hybrid machine the v1
// directories and, when a limit needs a controller that only v2 has, the v2 one
// too. Where the hierarchies are mounted is read from /proc/self/mountinfo and
// checked with statfs; no mount path is assumed.
//
// Create makes the directories and applies the limits; the launcher puts the
// container's first process inside by TaskFiles (v1) and DirFD (v2); Kill and
// Remove end it. A Group keeps no daemon state: Load finds it again by its path.
//
// Limits come from the OCI spec. A limit that the kernel refuses, or for which it
// has no controller, is an error that names the limit, the file and the reason:
// nothing is silently left out. systemd is not asked: package systemd does that, and has
// its groups filled in here. Otherwise, on a systemd machine, the parent group should be
// delegated (Delegate=yes).
package cgroup

import (
	"context"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Layout says how a machine's controllers are mounted.
type Layout int

// The layouts. Hybrid has v1 hierarchies with controllers beside a v2 mount.
const (
	V1 Layout = iota + 1
	V2
	Hybrid
)

func (l Layout) String() string {
	switch l {
	case V1:
		return "v1"
	case V2:
		return "v2"
	case Hybrid:
		return "hybrid"
	}
	return "none"
}

// ownParent is the group under which Sampan's containers live. It is made with
// the first of them and goes with the last.
const ownParent = "/sampan"

const (
	dirMode = 0o755
	// maxRaces bounds the retries of Create while another Remove keeps taking
	// away the shared parent.
	maxRaces = 100
)

// Options of Create; the zero value is right for most callers.
type Options struct {
	Machine *Machine // found ahead, or nil
	// Warn receives one sentence for each setting that the kernel no longer
	// has and that is safe to leave out (kernel memory limits). Nil drops them.
	Warn func(string)
	// Rootless leaves the device filter out where the caller may not set it, and Tolerate
	// the hierarchies in which he may not make the group: see rootless.go.
	Rootless, Tolerate bool
	// Member is a process that may be in the group already, and then all of its
	// parts are used: a scope of systemd cannot be without one. 0: none.
	Member int
}

// Group is one container's control group in every hierarchy.
type Group struct {
	path   string // as the caller gave it
	parts  []part
	layout Layout
	dir    *os.File // the v2 part, for CLONE_INTO_CGROUP
	old    bool     // for tests: do without cgroup.kill, as before Linux 5.14
	denied bool     // some hierarchies were left out: Options.Tolerate
	noRoot bool     // Options.Rootless
}

// part is the group's directory in one hierarchy.
type part struct {
	h   *hierarchy
	rel string // path below the hierarchy's mount
	new bool   // made by the Create that is under way, so its failure removes it
}

func (p *part) dir() string { return p.h.mount + p.rel }

// Machine is where the hierarchies are. Who waits for an order to make a group may
// find that out ahead.
type Machine struct{ m *machine }

// Find reads where the hierarchies are mounted.
func Find() (*Machine, error) {
	m, err := discover()
	if err != nil {
		return nil, err
	}
	return &Machine{m}, nil
}

// Mode reports how this machine mounts its controllers.
func Mode() (Layout, error) {
	m, err := discover()
	if err != nil {
		return 0, err
	}
	return m.layout, nil
}

// Create makes the group in all hierarchies and applies the limits. The path is
// absolute from the root of each hierarchy ("/sampan/ID"); a relative one lies
// below the caller's own group, on v2 beside it. res may be nil: no limits, but the device
// filter is always there (deny all but the standard devices). An existing group
// is taken over when it is empty and refused when there are processes in it
// (fault.Conflict). On failure everything that was made is removed again.
func Create(path string, res *specs.LinuxResources, o Options) (*Group, error) {
	if o.Machine == nil {
		var err error
		if o.Machine, err = Find(); err != nil {
			return nil, err
		}
	}
	return o.Machine.m.create(path, res, o)
}

func (m *machine) create(path string, res *specs.LinuxResources, o Options) (_ *Group, retErr error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if res == nil {
		res = &specs.LinuxResources{}
	}
	warn := o.Warn
	if warn == nil {
		warn = func(string) {}
	}
	devices, err := deviceRules(res.Devices)
	if err != nil {
		return nil, err
	}
	g := &Group{path: path, layout: m.layout, noRoot: o.Rootless}
	defer func() {
		if retErr != nil {
			g.undo()
		}
	}()
	for _, h := range m.hierarchies {
		if h.v2 && m.layout == Hybrid && o.Member == 0 && !m.needsV2(res) {
			continue
		}
		if err := g.make(m, h, o.Member); err != nil && !g.leaveOut(o, err) {
			return nil, err
		}
	}
	if err := g.refuseFrozen(); err != nil {
		return nil, err
	}
	if err := g.apply(res, devices, true, warn); err != nil {
		return nil, err
	}
	if err := g.openDir(); err != nil {
		return nil, err
	}
	for i := range g.parts {
		g.parts[i].new = false // from here on Remove is what takes it away
	}
	return g, nil
}

// Load finds an existing group by the path that Create was given. Hierarchies in
// which the group is missing are left out; if it is missing in all of them the
// error is fault.NotFound.
func Load(path string) (*Group, error) {
	m, err := discover()
	if err != nil {
		return nil, err
	}
	return m.load(path)
}

func (m *machine) load(path string) (*Group, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	g := &Group{path: path, layout: m.layout}
	for _, h := range m.hierarchies {
		rel, err := m.place(h, path)
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		switch err := unix.Lstat(h.mount+rel, &st); {
		case err == unix.ENOENT:
		case err != nil:
			return nil, fmt.Errorf("find cgroup %s: %s: %w", path, h.mount+rel, err)
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			g.parts = append(g.parts, part{h: h, rel: rel})
		}
	}
	if len(g.parts) == 0 {
		return nil, fault.New(fault.NotFound, "cgroup %s does not exist", path)
	}
	return g, g.openDir()
}

// checkPath refuses paths that could lead to somebody else's group.
func checkPath(p string) error {
	switch {
	case p == "" || path.Clean(p) == "/" || path.Clean(p) == ".":
		return fault.New(fault.Invalid, "cgroup path %q is the root group; name a group below it", p)
	case len(p) > unix.PathMax/2:
		return fault.New(fault.Invalid, "cgroup path of %d bytes is too long", len(p))
	case strings.ContainsAny(p, "\x00\n"):
		return fault.New(fault.Invalid, "cgroup path %q holds a NUL or a line break", p)
	}
	for c := range strings.SplitSeq(p, "/") {
		if c == ".." || c == "." {
			return fault.New(fault.Invalid, "cgroup path %q must not contain %q", p, c)
		}
	}
	return nil
}

// make creates the group in one hierarchy, with its parents.
func (g *Group) make(m *machine, h *hierarchy, member int) error {
	rel, err := m.place(h, g.path)
	if err != nil {
		return err
	}
	p := part{h: h, rel: rel}
	for range maxRaces { // gone covers the parent that vanishes while we set it up
		if !h.v2 || h.prepared(path.Dir(rel)) {
			err = mkdir(p.dir())
		} else {
			err = unix.ENOENT
		}
		if err != unix.ENOENT {
			break
		}
		// The parent is missing, or was just removed with its last member.
		if err = h.makeParents(path.Dir(rel)); err != nil && !gone(err) {
			return err
		}
	}
	switch {
	case err == nil:
		p.new = true
	case err == unix.EEXIST:
		if pids, perr := p.procs(); perr != nil {
			return perr
		} else if len(pids) > 0 && !(len(pids) == 1 && pids[0] == member) {
			return fault.New(fault.Conflict, "container's cgroup is not empty: %s has %d processes in %s, one is %d; remove that container first or choose another cgroup path",
				g.path, len(pids), p.dir(), pids[0])
		}
	default:
		return fmt.Errorf("create cgroup %s: mkdir %s: %w%s", g.path, p.dir(), err, mkdirHint(err))
	}
	g.parts = append(g.parts, p)
	if h.has("cpuset") && !h.v2 {
		return h.inheritCpuset(rel)
	}
	return nil
}

func mkdirHint(err error) string {
	switch err {
	case unix.EROFS:
		return " (the hierarchy is mounted read-only)"
	case unix.EACCES, unix.EPERM:
		return " (only root, or the owner of a delegated group, may create groups)"
	case unix.EAGAIN:
		return " (the limit of the parent group on the number of groups is reached, see cgroup.max.descendants)"
	case unix.ENOSPC:
		return " (the kernel has no cgroup id left; many removed groups may still hold memory)"
	}
	return ""
}

// undo takes back what a failed Create has made.
func (g *Group) undo() {
	g.Close()
	for i := range g.parts {
		if p := &g.parts[i]; p.new {
			_ = rmdir(p.dir())
		}
	}
	g.removeParents()
}

func (g *Group) openDir() error {
	for i := range g.parts {
		if p := &g.parts[i]; p.h.v2 {
			fd, err := openPath(p.dir())
			if err != nil {
				return fmt.Errorf("open cgroup %s: %w", g.path, err)
			}
			g.dir = os.NewFile(uintptr(fd), p.dir())
		}
	}
	return nil
}

// Path returns the path that Create or Load was given.
func (g *Group) Path() string { return g.path }

// Paths returns the group's directory for each controller; a named hierarchy is
// "name=systemd", the v2 group is "".
func (g *Group) Paths() map[string]string {
	paths := make(map[string]string, 2*len(g.parts))
	for i := range g.parts {
		p := &g.parts[i]
		if p.h.v2 {
			paths[""] = p.dir()
			continue
		}
		for _, c := range p.h.controllers {
			paths[c] = p.dir()
		}
	}
	return paths
}

// TaskFiles opens the tasks file of each v1 hierarchy, write-only and
// close-on-exec. A single-threaded child joins by writing "0" into each: unlike
// cgroup.procs this takes no lock that waits for an RCU grace period. The caller
// closes the files. Empty on a pure v2 machine.
func (g *Group) TaskFiles() ([]*os.File, error) {
	files := make([]*os.File, 0, len(g.parts))
	for i := range g.parts {
		p := &g.parts[i]
		if p.h.v2 {
			continue
		}
		fd, err := open(p.dir()+"/tasks", unix.O_WRONLY)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("join cgroup %s: open %s/tasks: %w", g.path, p.dir(), err)
		}
		files = append(files, os.NewFile(uintptr(fd), p.dir()+"/tasks"))
	}
	return files, nil
}

// DirFD returns the v2 group's directory for clone3's CLONE_INTO_CGROUP, and
// false where the group has no v2 part. The file belongs to the Group.
func (g *Group) DirFD() (*os.File, bool) { return g.dir, g.dir != nil }

// Close closes the descriptors of the Group and leaves the group in place.
func (g *Group) Close() error {
	if g.dir == nil {
		return nil
	}
	f := g.dir
	g.dir = nil
	return f.Close()
}

// with returns the part that has a controller.
func (g *Group) with(controller string) *part {
	for i := range g.parts {
		if g.parts[i].h.has(controller) {
			return &g.parts[i]
		}
	}
	return nil
}

// unified returns the v2 part.
func (g *Group) unified() *part {
	for i := range g.parts {
		if g.parts[i].h.v2 {
			return &g.parts[i]
		}
	}
	return nil
}

// pause waits a little longer each time, up to 5 ms, and reports whether ctx
// and the deadline allow another look.
func pause(ctx context.Context, wait *time.Duration, deadline time.Time) bool {
	if *wait == 0 {
		*wait = 100 * time.Microsecond
	}
	if time.Now().After(deadline) {
		return false
	}
	t := time.NewTimer(*wait)
	defer t.Stop()
	if *wait < 5*time.Millisecond {
		*wait *= 2
	}
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
