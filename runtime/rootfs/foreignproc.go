package rootfs

import (
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/runtime/launch"
)

const (
	procRootInode = 1 // PROC_ROOT_INO, the same in every procfs
	// maxForeignMounts bounds in how many mount namespaces a procfs is looked for.
	maxForeignMounts = 8
	// foreignProcWait bounds a visit to a mount namespace, whose /proc may lie on a
	// file system that does not answer.
	foreignProcWait = 5 * time.Second
)

// foreignProc prepares the procfs of a joined PID namespace. Before Linux 6.18 it
// could be mounted from inside the namespace alone, where a process that still has
// rights on the host could be traced; so a copy of the mount that the processes
// there have already is taken, from outside.
func (p *Plan) foreignProc(m *mount) error {
	m.kind = foreignProc
	if takesPIDNS(p.c.PIDNS) {
		return nil
	}
	tree, err := copyProcOf(p.c.PIDNS)
	if err != nil {
		return fault.New(fault.Unavailable, "mount the procfs of the joined PID namespace at %s: %s", m.where, plain(err))
	}
	m.kind, m.tree, m.what = bind, p.keep(tree), "the procfs of the joined PID namespace"
	// Its flags are the other container's: what this one does not ask for goes.
	attr := mountapi.Attr{Set: m.opt.top.set, Clear: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE}
	if attr.Set&unix.MOUNT_ATTR_RDONLY != 0 {
		attr.Clear = 0
	}
	if err := mountapi.SetAttr(tree, attr, false); err != nil {
		return fault.New(fault.Unavailable, "mount the procfs of the joined PID namespace at %s: set its options: %s", m.where, plain(err))
	}
	return nil
}

// takesPIDNS says whether procfs has the option pidns (Linux 6.18).
func takesPIDNS(ns *os.File) bool {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return true // the child names the reason
	}
	defer unix.Close(fs)
	return unix.FsconfigSetFd(fs, "pidns", int(ns.Fd())) == nil
}

// copyProcOf returns a detached copy of a procfs that shows the namespace, without
// what is mounted in it.
func copyProcOf(ns *os.File) (*os.File, error) {
	pids, err := members(ns)
	if err != nil {
		return nil, err
	}
	err = errors.New("no process in it has a procfs at /proc to share (one that can be mounted from outside needs Linux 6.18)")
	var tried []uint64
	for _, pid := range pids {
		mounts, openErr := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
		if openErr != nil {
			continue // it has ended
		}
		var st unix.Stat_t
		if unix.Fstat(int(mounts.Fd()), &st) != nil || slices.Contains(tried, st.Ino) || len(tried) == maxForeignMounts {
			mounts.Close()
			continue
		}
		tried = append(tried, st.Ino)
		tree, copyErr := copyProcIn(mounts)
		mounts.Close()
		if copyErr != nil {
			continue
		}
		if shows(tree, ns) {
			return tree, nil
		}
		tree.Close()
	}
	return nil, err
}

// members lists the processes of a PID namespace, the oldest first.
func members(ns *os.File) ([]int, error) {
	var want unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &want); err != nil {
		return nil, err
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstatat(int(dir.Fd()), name+"/ns/pid", &st, 0) == nil && st.Ino == want.Ino && st.Dev == want.Dev {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// copyProcIn copies the mount at /proc of a mount namespace, whatever that is.
func copyProcIn(mounts *os.File) (*os.File, error) {
	b := launch.NewBuilder()
	defer b.Release()
	b.At("look for the procfs of the joined PID namespace")
	proc, tree := b.Slot(), b.Slot()
	b.Setns(launch.Int(int(mounts.Fd())), unix.CLONE_NEWNS)
	b.Openat2(launch.Cwd(), "/proc", unix.O_PATH|unix.O_DIRECTORY, 0, unix.RESOLVE_NO_SYMLINKS).Into(proc)
	b.CloneTree(launch.In(proc), "", 0).Into(tree)
	b.Send(launch.In(tree))
	b.Exit(0)
	p, err := b.Finish()
	if err != nil {
		return nil, err
	}
	c, err := p.Start(launch.StartOptions{})
	if err != nil {
		return nil, err
	}
	defer c.PidFD.Close()
	defer c.Close()
	defer c.Wait()
	// Within that time it was reaped by nobody else, so the pidfd is still its own.
	late := time.AfterFunc(foreignProcWait, func() { _ = unix.PidfdSendSignal(int(c.PidFD.Fd()), unix.SIGKILL, nil, 0) })
	defer late.Stop()
	m, err := c.Next()
	if errors.Is(err, io.EOF) {
		err = errors.New("a file system there does not answer")
	}
	if err != nil {
		return nil, err
	}
	return m.Files[0], nil
}

// shows says whether a tree is a whole procfs of the namespace. The processes there
// may have mounted at /proc what they like.
func shows(tree, ns *os.File) bool {
	if !isProc(tree) {
		return false
	}
	var root, first, want unix.Stat_t
	fd := int(tree.Fd())
	return unix.Fstat(fd, &root) == nil && root.Ino == procRootInode &&
		unix.Fstatat(fd, "1/ns/pid", &first, 0) == nil && unix.Fstat(int(ns.Fd()), &want) == nil &&
		first.Ino == want.Ino && first.Dev == want.Dev
}
