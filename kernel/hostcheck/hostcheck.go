// Package hostcheck looks at the machine for what containers need of it: the kernel's
// features, control groups, mounts and limits. Every result says what was found, and of
// what is missing what that costs.
//
// It changes nothing and loads no module: what the kernel would load on first use is
// found as "not loaded".
package hostcheck

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/quota"
)

// State is how well the machine does.
type State string

// A Gap makes something slower, smaller or unavailable; with a Fault containers do not
// work as they should.
const (
	OK    State = "ok"
	Gap   State = "gap"
	Fault State = "fault"
)

// Result is one finding.
type Result struct {
	Area  string // kernel, cgroups, security, network, storage, limits
	Name  string
	State State
	Found string
	Cost  string `json:",omitempty"` // of what is missing, and what to do
}

// Options say where to look.
type Options struct {
	DataRoot, ExecRoot string
	// Firewall says what of the host's other firewalls keeps containers from the
	// network, or ""; nil: nobody knows.
	Firewall func() string
	// Root is put before /proc and /sys, for tests; empty: the machine's own.
	Root string
}

type check struct {
	Options
	list []Result
}

// Run looks at everything.
func Run(o Options) []Result {
	c := &check{Options: o}
	c.kernel()
	c.cgroups()
	c.security()
	c.network()
	c.storage()
	c.limits()
	return c.list
}

func (c *check) add(area, name string, state State, found, cost string) {
	if state == OK {
		cost = ""
	}
	c.list = append(c.list, Result{area, name, state, found, cost})
}

// need adds a finding that is either there or not.
func (c *check) need(area, name string, there bool, otherwise State, cost string) {
	state, found := OK, "available"
	if !there {
		state, found = otherwise, "missing"
	}
	c.add(area, name, state, found, cost)
}

func (c *check) text(path string) string {
	f, err := os.Open(filepath.Join(c.Root, path))
	if err != nil {
		return ""
	}
	defer f.Close()
	const limit = 64 << 10 // more than any file that is read here has
	raw := make([]byte, limit)
	n, _ := f.Read(raw)
	return strings.TrimSpace(string(raw[:n]))
}

func (c *check) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(c.Root, path))
	return err == nil
}

func (c *check) number(path string) (int64, bool) {
	text := c.text(path)
	if text == "max" {
		return 1<<63 - 1, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// atLeast adds a limit of the machine.
func (c *check) atLeast(area, path string, least int64, cost string) {
	n, ok := c.number(path)
	if !ok {
		return // this kernel has no such limit
	}
	name := strings.ReplaceAll(strings.TrimPrefix(path, "/proc/sys/"), "/", ".")
	state, found := OK, strconv.FormatInt(n, 10)
	if n < least {
		state = Gap
		cost += fmt.Sprintf(" (sysctl -w %s=%d)", name, least)
	}
	c.add(area, name, state, found, cost)
}

func (c *check) kernel() {
	var u unix.Utsname
	release := "unknown"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	state, cost := judge(release)
	c.add("kernel", "Linux", state, release, cost)
	for _, ns := range []struct {
		file, cost string
		state      State
	}{
		{"mnt", "containers do not start", Fault}, {"pid", "containers do not start", Fault}, {"net", "no networks but the host's", Fault},
		{"ipc", "containers do not start", Fault}, {"uts", "containers have the host's name", Fault},
		{"cgroup", "a container sees the names of the host's groups", Gap},
		{"user", "no --userns-remap", Gap}, {"time", "no time offsets for restored containers", Gap},
	} {
		c.need("kernel", ns.file+" namespace", c.exists("/proc/self/ns/"+ns.file), ns.state, ns.cost)
	}
	c.need("kernel", "pressure (PSI)", c.exists("/proc/pressure/memory"), Gap, "stats show no pressure; boot with psi=1")
	c.need("kernel", "binfmt_misc", c.exists("/proc/sys/fs/binfmt_misc/status"), Gap, "images for other processors do not run; install qemu-user-static")
}

// features are what versions of Linux brought, newest first.
var features = []struct {
	major, minor int
	state        State
	cost         string
}{
	{5, 12, Fault, "containers do not start before Linux 5.12"},
	{5, 14, Gap, "before 5.14 a container's processes are killed one by one, not as a group"},
	{5, 19, Gap, "before 5.19 no --userns-remap: overlay has no idmapped layers"},
	{6, 7, Gap, "before 6.7 a start mounts its layers in a helper process, 1 ms slower"},
	{6, 9, Gap, "before 6.9 somebody's nft flush ruleset takes our rules away for a moment"},
}

func judge(release string) (State, string) {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return OK, ""
	}
	for _, f := range features {
		if major < f.major || major == f.major && minor < f.minor {
			return f.state, f.cost
		}
	}
	return OK, ""
}

func (c *check) cgroups() {
	const area = "cgroups"
	unified := c.exists("/sys/fs/cgroup/cgroup.controllers")
	layout := "v2"
	if !unified {
		layout = "v1"
		if c.exists("/sys/fs/cgroup/unified/cgroup.controllers") {
			layout = "v1, with v2 beside it"
		}
	}
	state := OK
	if !unified {
		state = Gap
	}
	c.add(area, "hierarchy", state, layout, "the end of a group, and OOM, are found out more slowly; no pressure for each container (boot with systemd.unified_cgroup_hierarchy=1)")
	controllers := strings.Fields(c.text("/sys/fs/cgroup/cgroup.controllers"))
	has := func(v1, v2 string) bool {
		if unified {
			return v2 == "" || slices.Contains(controllers, v2)
		}
		return c.exists("/sys/fs/cgroup/" + v1)
	}
	for _, k := range []struct {
		v1, v2, cost string
		state        State
	}{
		{"memory", "memory", "no memory limits, no OOM report (boot with cgroup_enable=memory)", Fault},
		{"cpu", "cpu", "no --cpus and --cpu-shares", Gap},
		{"cpuset", "cpuset", "no --cpuset-cpus and --cpuset-mems", Gap},
		{"pids", "pids", "no --pids-limit: a fork bomb reaches the host", Fault},
		{"blkio", "io", "no --blkio-weight and --device-read-bps", Gap},
		{"devices", "", "containers may open every device", Fault},
		{"freezer", "", "no pause", Gap},
		{"hugetlb", "hugetlb", "no limits on huge pages", Gap},
	} {
		c.need(area, k.v1, has(k.v1, k.v2), k.state, k.cost)
	}
	swap := c.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") || unified && c.exists("/proc/swaps")
	c.need(area, "swap limit", swap, Gap, "--memory-swap has no effect (boot with swapaccount=1)")
}

func (c *check) security() {
	const area = "security"
	c.need(area, "seccomp filters", c.exists("/proc/sys/kernel/seccomp/actions_avail"), Fault, "system calls are not filtered; every container needs seccomp=unconfined")
	c.need(area, "AppArmor", strings.HasPrefix(c.text("/sys/module/apparmor/parameters/enabled"), "Y"), Gap, "no AppArmor profiles; the other barriers hold")
	c.need(area, "SELinux", c.exists("/sys/fs/selinux/enforce"), Gap, "no SELinux labels; the other barriers hold")
	for line := range strings.Lines(c.text("/proc/self/status")) {
		text, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		caps, _ := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		for _, k := range []struct {
			bit   int
			name  string
			state State
			cost  string
		}{
			{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", Fault, "containers do not start"},
			{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", Fault, "no networks"},
			{unix.CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", Gap, "ulimits above the daemon's own, and lower OOM scores, are left out with a warning"},
			{unix.CAP_MKNOD, "CAP_MKNOD", Gap, "device nodes of images and volumes are not made"},
		} {
			c.need(area, k.name+" of the daemon", caps&(1<<k.bit) != 0, k.state, k.cost)
		}
	}
}

func (c *check) network() {
	const area = "network"
	found, state := c.text("/proc/sys/net/ipv4/ip_forward"), OK
	if found != "1" {
		state = Gap
	}
	c.add(area, "net.ipv4.ip_forward", state, found, "containers reach nothing beyond the host, and nothing reaches published ports (sysctl -w net.ipv4.ip_forward=1)")
	modules := c.text("/proc/modules")
	for _, name := range []string{"nf_tables", "nf_nat", "bridge", "veth"} {
		found := "built in, or loaded on first use" // what is built in need not show anywhere
		if c.exists("/sys/module/"+name) || strings.Contains("\n"+modules, "\n"+name+" ") {
			found = "available"
		}
		c.add(area, name, OK, found, "")
	}
	c.need(area, "IPv6", c.exists("/proc/net/if_inet6"), Gap, "no IPv6 networks and ports")
	if c.Firewall != nil {
		state, found, cost := OK, "let containers through", c.Firewall()
		if cost != "" {
			state, found = Gap, "drop what is forwarded"
		}
		c.add(area, "other firewalls", state, found, cost)
	}
	c.atLeast(area, "/proc/sys/net/netfilter/nf_conntrack_max", 65536, "many connections through published ports are dropped")
}

func (c *check) storage() {
	const area = "storage"
	overlay := false
	for line := range strings.Lines(c.text("/proc/filesystems")) {
		overlay = overlay || strings.TrimSpace(line) == "overlay" || strings.HasSuffix(strings.TrimSpace(line), "\toverlay")
	}
	c.need(area, "overlay", overlay, Fault, "no layers: images do not run (modprobe overlay)")
	for _, dir := range []struct{ name, path string }{{"data root", c.DataRoot}, {"exec root", c.ExecRoot}} {
		if dir.path != "" {
			c.directory(dir.name, dir.path)
		}
	}
	if c.DataRoot != "" {
		c.need(area, "project quotas of the data root", quota.Probe(c.DataRoot) == nil, Gap,
			"--storage-opt size, and size of a volume, are refused; they need xfs, or ext4 with the features quota and project, mounted with prjquota, and Linux 5.14")
	}
}

// directory looks at one of the daemon's directories.
func (c *check) directory(name, path string) {
	const area = "storage"
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		c.add(area, name, Fault, path+": "+err.Error(), "the daemon cannot keep its state")
		return
	}
	fstype, options := c.mountOf(path)
	found := fmt.Sprintf("%s on %s, %d MB free", path, fstype, st.Bavail*uint64(st.Bsize)>>20)
	const low = 1 << 30
	switch {
	case name == "exec root" && st.Type != unix.TMPFS_MAGIC:
		c.add(area, name, Gap, found, "what ends with the machine's life is written to disk; use a directory on a tmpfs such as /run")
	case name == "exec root":
		c.add(area, name, OK, found, "")
	case st.Type == unix.TMPFS_MAGIC:
		c.add(area, name, Gap, found, "images, containers and volumes are lost with the next boot")
	case st.Type == unix.NFS_SUPER_MAGIC || st.Type == unix.OVERLAYFS_SUPER_MAGIC:
		c.add(area, name, Fault, found, "overlay cannot write here; use a local file system such as ext4, xfs or btrfs")
	case st.Bavail*uint64(st.Bsize) < low:
		c.add(area, name, Gap, found, "less than 1 GB is free: pulls and writes will fail soon (sampan system prune)")
	case st.Files > 0 && st.Ffree*20 < st.Files:
		c.add(area, name, Gap, fmt.Sprintf("%s, %d inodes free", found, st.Ffree), "less than 5 % of the inodes are free: images with many small files will not fit")
	default:
		c.add(area, name, OK, found, "")
	}
	for _, o := range []struct{ option, cost string }{
		{"nodev", "device nodes of images do not work"}, {"nosuid", "sudo, ping and other set-id programs of images do not work"}, {"noexec", "nothing of an image can be executed"},
	} {
		if name == "data root" && slices.Contains(options, o.option) {
			c.add(area, "data root is mounted "+o.option, Fault, fstype, o.cost+" (remount it without "+o.option+")")
		}
	}
}

// mountOf finds the mount that a path lies on: the longest mount point above it, and
// of several there the last.
func (c *check) mountOf(path string) (fstype string, options []string) {
	f, err := os.Open(filepath.Join(c.Root, "/proc/self/mountinfo"))
	if err != nil {
		return "?", nil
	}
	defer f.Close()
	longest := -1
	for lines := bufio.NewScanner(f); lines.Scan(); {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		fields, types := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 6 || len(types) < 1 {
			continue
		}
		point := strings.ReplaceAll(fields[4], `\040`, " ")
		if (path == point || strings.HasPrefix(path, strings.TrimSuffix(point, "/")+"/")) && len(point) >= longest {
			longest, fstype, options = len(point), types[0], strings.Split(fields[5], ",")
		}
	}
	return fstype, options
}

func (c *check) limits() {
	const area = "limits"
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		const files = 65536
		state := OK
		if r.Max < files {
			state = Gap
		}
		c.add(area, "open files of the daemon", state, fmt.Sprintf("%d, at most %d", r.Cur, r.Max), "hundreds of containers with published ports, and ulimits of containers, need more (LimitNOFILE= in the unit)")
	}
	for _, l := range []struct {
		path  string
		least int64
		cost  string
	}{
		{"/proc/sys/kernel/pid_max", 32768, "few processes in all containers together"},
		{"/proc/sys/kernel/keys/maxkeys", 200, "each container has a session keyring: few containers of one user at a time"},
		{"/proc/sys/user/max_user_namespaces", 100, "few remapped containers"},
		{"/proc/sys/user/max_net_namespaces", 500, "few containers with a network of their own"},
		{"/proc/sys/user/max_mnt_namespaces", 500, "few containers"},
		{"/proc/sys/fs/file-max", 100000, "few open files in all containers together"},
		{"/proc/sys/fs/inotify/max_user_instances", 128, "programs that watch files fail in many containers"},
		{"/proc/sys/vm/max_map_count", 65530, "databases such as Elasticsearch refuse to start"},
	} {
		c.atLeast(area, l.path, l.least, l.cost)
	}
}
