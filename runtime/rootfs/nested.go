package rootfs

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/mountapi"
)

// hostKernelFS binds the procfs or sysfs that the caller sees, with all that lies on it.
func (p *Plan) hostKernelFS(m *mount, dir string) error {
	m.kind, m.opt.deepBind, m.what = bind, true, dir
	return p.bind(m, &specs.Mount{Source: dir})
}

// kernelFS prepares a procfs or sysfs for a container in the caller's own user namespace.
// The kernel makes a new one there only while another is in sight of which nothing is
// covered (mount_too_revealing), which is not so in a container that has masked paths.
// There the container gets a copy of what the caller sees, which reveals nothing new.
func (p *Plan) kernelFS(m *mount) error {
	dir := "/proc"
	if m.fstype == "sysfs" {
		dir = "/sys"
	}
	if hidden, err := covered(dir); err != nil || !hidden {
		return err
	}
	tree, err := mountapi.CloneTree(dir, true)
	if err != nil {
		return bindError(dir, m.where, err)
	}
	m.tree = p.keep(tree)
	attr := mountapi.Attr{Set: m.opt.top.set, Propagation: unix.MS_PRIVATE}
	if err := mountapi.SetAttr(tree, attr, true); err != nil {
		return err
	}
	if m.fstype == "proc" {
		p.c.Warn("mount proc at " + m.where + ": parts of /proc are masked here, and then the kernel makes no new procfs: the container gets this one and sees the processes around it")
	}
	return nil
}

// covered reports whether something is mounted on a procfs or sysfs, other than the file
// systems for which the kernel itself keeps an empty directory there.
func covered(dir string) (bool, error) {
	data, err := readProc("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(data) {
		front, back, ok := strings.Cut(line, " - ")
		f := strings.Fields(front)
		if !ok || len(f) < 5 || !strings.HasPrefix(f[4], dir+"/") {
			continue
		}
		switch fstype, _, _ := strings.Cut(back, " "); fstype {
		case "binfmt_misc", "nfsd", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "configfs", "fusectl", "pstore", "bpf", "efivarfs", "selinuxfs", "autofs":
			continue
		}
		if f[4] == "/sys/fs/cgroup" || strings.HasPrefix(f[4], "/sys/fs/cgroup/") {
			continue
		}
		return true, nil
	}
	return false, nil
}
