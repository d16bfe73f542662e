package system

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxProcFile bounds reads of small kernel and system files.
const maxProcFile = 64 << 10

// machine is what the kernel and the operating system say about this host.
type machine struct {
	kernel, arch, name string
	osName, osVersion  string
	memory             int64
	forwarding         bool
	bridgeNF           bool
	bridgeNF6          bool
	backing            string // file system of the data root
	dirTypes           bool   // its directories tell the files' types; overlay needs that
	cgroup             cgroupFeatures
}

// cgroupFeatures tells which limits the kernel can enforce.
type cgroupFeatures struct {
	version                       string
	memory, swap, oomDisable      bool
	cfs, shares, cpuset, pids     bool
	kernelMemory, kernelMemoryTCP bool
}

func readMachine(root string) machine {
	m := machine{osName: "Linux", backing: fileSystem(root), dirTypes: hasDirTypes(root), cgroup: readCgroup("/sys/fs/cgroup")}
	m.kernel, m.arch = kernelRelease()
	m.name, _ = os.Hostname()
	for _, line := range lines("/etc/os-release") {
		key, value, _ := strings.Cut(line, "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "PRETTY_NAME":
			m.osName = value
		case "VERSION_ID":
			m.osVersion = value
		}
	}
	for _, line := range lines("/proc/meminfo") {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			m.memory = kib << 10
			break
		}
	}
	m.forwarding = isOne("/proc/sys/net/ipv4/ip_forward")
	m.bridgeNF = isOne("/proc/sys/net/bridge/bridge-nf-call-iptables")
	m.bridgeNF6 = isOne("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
	return m
}

func kernelRelease() (release, arch string) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "", ""
	}
	return unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
}

// readCgroup looks for the interface files themselves: a controller may be
// compiled in and still be switched off on the kernel's command line.
func readCgroup(mount string) cgroupFeatures {
	var fs unix.Statfs_t
	if unix.Statfs(mount, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		have := map[string]bool{}
		for _, c := range strings.Fields(strings.Join(lines(filepath.Join(mount, "cgroup.controllers")), " ")) {
			have[c] = true
		}
		return cgroupFeatures{
			version: "2", memory: have["memory"], swap: have["memory"], cfs: have["cpu"],
			shares: have["cpu"], cpuset: have["cpuset"], pids: have["pids"],
		}
	}
	has := func(file string) bool {
		_, err := os.Stat(filepath.Join(mount, file))
		return err == nil
	}
	return cgroupFeatures{
		version: "1", memory: has("memory/memory.limit_in_bytes"), swap: has("memory/memory.memsw.limit_in_bytes"),
		oomDisable: has("memory/memory.oom_control"), cfs: has("cpu/cpu.cfs_quota_us"), shares: has("cpu/cpu.shares"),
		cpuset: has("cpuset/cpuset.cpus"), pids: has("pids"),
		kernelMemory: has("memory/memory.kmem.limit_in_bytes"), kernelMemoryTCP: has("memory/memory.kmem.tcp.limit_in_bytes"),
	}
}

// fileSystems names the common ones by their magic number (statfs(2)).
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "extfs", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.NFS_SUPER_MAGIC: "nfs",
	0x2fc12fc1: "zfs", unix.F2FS_SUPER_MAGIC: "f2fs",
}

func fileSystem(path string) string {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil {
		return "<unknown>"
	}
	if name, ok := fileSystems[int64(fs.Type)]; ok {
		return name
	}
	return "<unknown>"
}

func (m *machine) driverStatus() [][2]string {
	return [][2]string{
		{"Backing Filesystem", m.backing},
		{"Supports d_type", strconv.FormatBool(m.dirTypes)},
		{"userxattr", "false"}, // overlays are mounted by real root only
	}
}

// hasDirTypes reads the first directory entry (".") as getdents64(2) gives it:
// inode and offset (8 bytes each), length (2), type (1).
func hasDirTypes(dir string) bool {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	const typeAt = 18
	var buf [1024]byte
	n, err := unix.Getdents(fd, buf[:])
	return err == nil && n > typeAt && buf[typeAt] != unix.DT_UNKNOWN
}

// warnings names what limits cannot be enforced here.
func (m *machine) warnings() (w []string) {
	for _, f := range []struct {
		has  bool
		text string
	}{
		{m.cgroup.memory, "WARNING: No memory limit support"},
		{m.cgroup.swap, "WARNING: No swap limit support"},
		{m.cgroup.cfs, "WARNING: No cpu cfs quota support"},
		{m.cgroup.shares, "WARNING: No cpu shares support"},
		{m.cgroup.cpuset, "WARNING: No cpuset support"},
		{m.cgroup.pids, "WARNING: No pids limit support"},
		{m.forwarding, "WARNING: IPv4 forwarding is disabled"},
	} {
		if !f.has {
			w = append(w, f.text)
		}
	}
	return w
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries) - 1 // the directory itself was open
}

func isOne(path string) bool {
	l := lines(path)
	return len(l) > 0 && l[0] == "1"
}

// lines reads a small file; one that cannot be read has no lines.
func lines(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	raw := make([]byte, maxProcFile)
	n, _ := f.Read(raw)
	var all []string
	for s := bufio.NewScanner(bytes.NewReader(raw[:n])); s.Scan(); {
		all = append(all, s.Text())
	}
	return all
}
