package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// hierarchy is one mounted tree of groups.
type hierarchy struct {
	v2          bool
	controllers []string // v1: names, or "name=X" for a named hierarchy; v2: what the root group offers
	mount       string   // where it is mounted
	root        string   // which group is mounted there: "/" unless we are inside a container
}

func (h *hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// machine is what discover found.
type machine struct {
	layout      Layout
	hierarchies []*hierarchy
	own         string // content of /proc/self/cgroup, read when a relative path needs it
}

// needsV2 reports whether a hybrid machine's v2 group is needed for res: it
// costs a mkdir per container, and usually has no controllers.
func (m *machine) needsV2(res *specs.LinuxResources) bool {
	return len(res.Unified) > 0 ||
		len(res.HugepageLimits) > 0 && !m.onV1("hugetlb") ||
		len(res.Rdma) > 0 && !m.onV1("rdma")
}

func (m *machine) onV1(controller string) bool {
	return slices.ContainsFunc(m.hierarchies, func(h *hierarchy) bool { return !h.v2 && h.has(controller) })
}

// conventional is where every distribution mounts cgroups. It is only a short
// cut: a pure v2 machine is recognised there by statfs, which saves reading a
// mount table that may be long.
const conventional = "/sys/fs/cgroup"

func discover() (*machine, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(conventional, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		h := &hierarchy{v2: true, mount: conventional, root: "/"}
		if err := h.readControllers(); err != nil {
			return nil, err
		}
		return &machine{layout: V2, hierarchies: []*hierarchy{h}}, nil
	}
	mounts, err := readFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	known, err := readFile("/proc/cgroups")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("find the cgroup controllers: %w", err)
	}
	m := parseMounts(string(mounts), kernelControllers(string(known)))
	if len(m.hierarchies) == 0 {
		return nil, fault.New(fault.Unavailable, "no cgroup hierarchy is mounted; mount cgroup2 on /sys/fs/cgroup, or the v1 controllers below it")
	}
	for _, h := range m.hierarchies {
		if h.v2 {
			if err := h.readControllers(); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// kernelControllers reads the names from /proc/cgroups, whose columns are name,
// hierarchy, number of groups, enabled.
func kernelControllers(table string) []string {
	var names []string
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) == 4 && !strings.HasPrefix(line, "#") {
			names = append(names, f[0])
		}
	}
	return names
}

// parseMounts picks the cgroup mounts out of a mountinfo table, see proc(5):
// id parent maj:min root mountpoint options [tags…] - type source superoptions.
func parseMounts(table string, known []string) *machine {
	m := &machine{}
	var v1, v2 []*hierarchy
	for line := range strings.Lines(table) {
		left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 3 {
			continue
		}
		h := &hierarchy{mount: unescape(l[4]), root: unescape(l[3])}
		switch r[0] {
		case "cgroup2":
			h.v2 = true
			v2 = prefer(v2, h, func(*hierarchy) bool { return true })
		case "cgroup":
			for opt := range strings.SplitSeq(r[2], ",") {
				if slices.Contains(known, opt) || strings.HasPrefix(opt, "name=") {
					h.controllers = append(h.controllers, opt)
				}
			}
			if len(h.controllers) > 0 {
				v1 = prefer(v1, h, func(o *hierarchy) bool { return slices.Equal(o.controllers, h.controllers) })
			}
		}
	}
	m.hierarchies = append(v1, v2...)
	controllers := slices.ContainsFunc(v1, func(h *hierarchy) bool { return !strings.HasPrefix(h.controllers[0], "name=") })
	switch {
	case controllers && len(v2) > 0:
		m.layout = Hybrid
	case len(v1) > 0:
		m.layout = V1
		m.hierarchies = v1
	case len(v2) > 0:
		m.layout = V2
	}
	return m
}

// prefer adds h, or puts it in place of another mount of the same hierarchy that
// shows only a part of it.
func prefer(list []*hierarchy, h *hierarchy, same func(*hierarchy) bool) []*hierarchy {
	i := slices.IndexFunc(list, same)
	if i < 0 {
		return append(list, h)
	}
	if list[i].root != "/" && h.root == "/" {
		list[i] = h
	}
	return list
}

// unescape decodes the octal escapes of /proc files (\040 for a space).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]) {
			b = append(b, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func isOctal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' {
			return false
		}
	}
	return true
}

func (h *hierarchy) readControllers() error {
	data, err := readFile(h.mount + "/cgroup.controllers")
	if err != nil {
		return fmt.Errorf("find the cgroup v2 controllers: %w", err)
	}
	h.controllers = strings.Fields(string(data))
	return nil
}

// place returns where a group's path lies below the mount.
func (m *machine) place(h *hierarchy, group string) (string, error) {
	if strings.HasPrefix(group, "/") {
		return path.Clean(group), nil
	}
	if m.own == "" {
		data, err := readFile("/proc/self/cgroup")
		if err != nil {
			return "", fmt.Errorf("find our own cgroup, below which %q lies: %w", group, err)
		}
		m.own = string(data)
	}
	own := ownGroup(m.own, h)
	if h.v2 {
		// We are in our own group, and on v2 a group with processes cannot
		// have others with limits below it: beside it, as runc does.
		own = path.Dir(own)
	}
	// Inside a container the mount shows the tree from our own group on.
	if h.root != "/" {
		own = strings.TrimPrefix(own, h.root)
	}
	return path.Clean("/" + own + "/" + group), nil
}

// ownGroup finds the caller's group in a /proc/self/cgroup table, whose lines are
// id:controllers:path.
func ownGroup(table string, h *hierarchy) string {
	for line := range strings.Lines(table) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if h.v2 && f[0] == "0" && f[1] == "" {
			return f[2]
		}
		if !h.v2 && slices.Contains(strings.Split(f[1], ","), h.controllers[0]) {
			return f[2]
		}
	}
	return "/"
}

// makeParents makes the groups from the root of the hierarchy down to rel.
func (h *hierarchy) makeParents(rel string) error {
	if h.v2 {
		return h.delegate(rel)
	}
	for _, dir := range ancestry(rel) {
		if dir == "/" {
			continue
		}
		err := mkdir(h.mount + dir)
		if err == unix.EEXIST {
			continue
		}
		if err != nil {
			return fmt.Errorf("create cgroup %s: mkdir %s: %w%s", rel, h.mount+dir, err, mkdirHint(err))
		}
		if h.has("cpuset") {
			if err := h.inheritCpuset(dir); err != nil {
				return err
			}
			if dir == ownParent {
				// Groups below inherit by themselves, which saves the
				// reads and writes for each container.
				_ = writeFile(h.mount+dir+"/cgroup.clone_children", "1")
			}
		}
	}
	return nil
}

// ancestry lists "/", "/a", "/a/b" for "/a/b".
func ancestry(rel string) []string {
	list := []string{"/"}
	for i := 1; i < len(rel); i++ {
		if rel[i] == '/' {
			list = append(list, rel[:i])
		}
	}
	if rel != "/" {
		list = append(list, rel)
	}
	return list
}

// inheritCpuset fills the two files without which no process may enter a v1
// cpuset group: a new one begins empty.
func (h *hierarchy) inheritCpuset(rel string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		if _, err := h.inherit(rel, name); err != nil {
			return fmt.Errorf("inherit %s of cgroup %s: %w", name, h.mount+rel, err)
		}
	}
	return nil
}

func (h *hierarchy) inherit(rel, name string) ([]byte, error) {
	value, err := readFile(h.mount + rel + "/" + name)
	if err != nil {
		return nil, err
	}
	if value = bytes.TrimSpace(value); len(value) > 0 || rel == "/" {
		return value, nil
	}
	value, err = h.inherit(path.Dir(rel), name)
	if err != nil {
		return nil, err
	}
	return value, writeFile(h.mount+rel+"/"+name, string(value))
}

// prepared reports whether the v2 group at rel exists and hands all of its
// controllers to its children, which is so after the first container.
func (h *hierarchy) prepared(rel string) bool {
	offered, err := readFile(h.mount + rel + "/cgroup.controllers")
	if err != nil {
		return false
	}
	given, err := readFile(h.mount + rel + "/cgroup.subtree_control")
	return err == nil && len(missing(offered, given)) == 0
}

// delegate makes the v2 groups down to rel and enables every controller for the
// children of each.
func (h *hierarchy) delegate(rel string) error {
	for _, dir := range ancestry(rel) {
		full := path.Clean(h.mount + dir)
		if dir != "/" {
			if err := mkdir(full); err != nil && err != unix.EEXIST {
				return fmt.Errorf("create cgroup %s: mkdir %s: %w%s", rel, full, err, mkdirHint(err))
			}
		}
		offered, err := readFile(full + "/cgroup.controllers")
		if err != nil {
			return fmt.Errorf("create cgroup %s: %w", rel, err)
		}
		given, err := readFile(full + "/cgroup.subtree_control")
		if err != nil {
			return fmt.Errorf("create cgroup %s: %w", rel, err)
		}
		want := missing(offered, given)
		if len(want) == 0 {
			continue
		}
		all := "+" + strings.Join(want, " +")
		if writeFile(full+"/cgroup.subtree_control", all) == nil {
			continue
		}
		// One controller that the kernel will not enable (cpu, while real-time
		// processes exist) must not take the others with it. A limit
		// that needs it will fail by name.
		for _, c := range want {
			if err := writeFile(full+"/cgroup.subtree_control", "+"+c); errors.Is(err, unix.EBUSY) && dir != "/" {
				return fault.New(fault.Conflict, "cgroup %s cannot have groups with limits below it, because processes are in it itself (cgroup v2 allows them only in leaves); move them into a group of their own", full)
			}
		}
	}
	return nil
}

func missing(offered, given []byte) []string {
	have := strings.Fields(string(given))
	var want []string
	for _, c := range strings.Fields(string(offered)) {
		if !slices.Contains(have, c) {
			want = append(want, c)
		}
	}
	return want
}
