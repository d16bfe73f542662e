package runtime

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/kernel/weak"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/privs"
	"github.com/sampan-containers/sampan/runtime/rootfs"
	"github.com/sampan-containers/sampan/runtime/seccomp"
)

// plan is what Launch and Exec have in common while they compile a process: its
// program so far, and what must be closed when that has run.
type plan struct {
	b       *launch.Builder
	process *specs.Process
	linux   *specs.Linux
	ns      *namespaces
	group   *cgroup.Group
	warn    func(string)

	stdio    [3]*os.File
	preserve []*os.File
	until    []*os.File // what the child needs until its execve, and the program must not have
	die      bool
	nested   bool               // the caller is not in the machine's first user namespace, or not root
	bounce   *launch.Trampoline // what the execve goes by, or nil
	compiled *seccomp.Filter    // given by the caller, or nil
	filter   []unix.SockFilter
	flags    uint

	proc  *os.File // private procfs, made on demand
	tree  rootfs.Tree
	slave launch.Slot // terminal for stdio, opened by the child; 0: none
	tty   *os.File    // the same, opened by the parent
	files []*os.File  // closed by close
}

func (p *plan) close() {
	if p.b != nil {
		p.b.Release()
	}
	for _, f := range p.files {
		f.Close()
	}
	p.files = nil
}

func (p *plan) keep(f *os.File) *os.File {
	p.files = append(p.files, f)
	return f
}

// fd is a descriptor of the parent as an argument; the child inherits it.
func fd(f *os.File) launch.Arg { return launch.Int(int(f.Fd())) }

// procfs is a procfs instance that nobody else can reach, so nothing can be
// mounted over its files (CVE-2025-52881). It shows the caller's processes, and of
// /proc/sys what belongs to the namespaces of the process that opens it. Where the
// kernel refuses (nested, unprivileged), the host's serves; launch.WriteFile
// crosses no mount in either.
func (p *plan) procfs() (launch.Arg, error) {
	if p.proc == nil {
		f, err := mountapi.New("proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if errors.Is(err, unix.EPERM) {
			f, err = os.OpenFile("/proc", unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		if err != nil {
			return launch.Arg{}, fmt.Errorf("make a private procfs: %w", err)
		}
		p.proc = p.keep(f)
	}
	return fd(p.proc), nil
}

// compileFilter turns the profile into BPF.
func (p *plan) compileFilter() error {
	s := p.linux.Seccomp
	switch {
	case weak.Off("seccomp"):
		return nil
	case p.compiled != nil:
		p.filter, p.flags = p.compiled.Program, p.compiled.Flags
		return nil
	case s == nil:
		return nil
	}
	var err error
	p.filter, p.flags, err = seccomp.Compile(s, goruntime.GOARCH)
	if err == nil && p.flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
		return seccomp.CheckNotify(s)
	}
	return err
}

// joinCgroups adds the v1 groups; v2 is joined by clone3. The file tasks takes one
// thread at once, where cgroup.procs waits for an RCU grace period (5 ms).
func (p *plan) joinCgroups() error {
	tasks, err := p.group.TaskFiles()
	if err != nil {
		return err
	}
	for _, f := range tasks {
		p.keep(f)
		p.b.At("join the control group "+f.Name(),
			launch.Hint{Errno: syscall.ENOSPC, Text: "the cpuset controller needs cpuset.cpus and cpuset.mems"},
			launch.Hint{Errno: syscall.EINVAL, Text: "the group has a real-time limit of 0"})
		p.b.Write(fd(f), "0")
	}
	return nil
}

// joinFurther adds groups of the caller's choice.
func (p *plan) joinFurther(files []*os.File) {
	for _, f := range files {
		p.b.At("join the group " + f.Name())
		p.b.Write(fd(f), "0")
	}
}

// attributes adds what needs the caller's rights and survives the change of namespaces.
func (p *plan) attributes() error {
	privs.Signals(p.b)
	if want := p.process.OOMScoreAdj; want != nil {
		proc := launch.Arg{}
		var err error
		if proc, err = p.procfs(); err != nil {
			return err
		}
		if err := privs.OOMScore(p.b, proc, *want, p.warn); err != nil {
			return err
		}
	}
	if err := privs.Scheduler(p.b, p.process); err != nil {
		return err
	}
	return privs.IOPriority(p.b, p.process.IOPriority)
}

// enterDirectory changes to the working directory. Magic links are refused on the
// way, and the kernel must say that the result lies below the root (CVE-2024-21626).
func (p *plan) enterDirectory(create bool) error {
	dir := p.process.Cwd
	if !strings.HasPrefix(dir, "/") {
		return fault.New(fault.Invalid, "the working directory %q is not an absolute path", dir)
	}
	b := p.b
	b.AtSite(launch.Site{What: "change to the working directory " + dir, Class: fault.Invalid, Hints: []launch.Hint{
		{Errno: syscall.ENOTDIR, Text: "it, or a part of its path, is not a directory"},
		{Errno: syscall.ENOENT, Text: "it is not in the container, or lies outside of its root"},
		{Errno: syscall.ELOOP, Text: "it leads through a link of /proc or through too many links"},
		{Errno: syscall.EROFS, Text: "it is missing, and the file system is read-only"},
	}})
	cwd := b.Slot()
	if weak.Off("cwd") {
		b.Openat(launch.Cwd(), dir, unix.O_PATH|unix.O_DIRECTORY, 0).Into(cwd)
		b.Fchdir(launch.In(cwd))
		return nil
	}
	if create {
		rootfs.Directory(b, p.tree, cwd, dir)
	} else {
		b.Openat2(launch.In(p.tree.Root), dir, unix.O_PATH|unix.O_DIRECTORY, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS).Into(cwd)
	}
	b.Fchdir(launch.In(cwd))
	b.Close(cwd)
	where := b.Space(unix.PathMax)
	first := b.Slot()
	inside, outside := b.Label(), b.Label()
	b.Call(unix.SYS_GETCWD, where.Addr(), launch.Int(unix.PathMax))
	b.Load(first, where, 0, 0xff)
	b.IfNot(first, '/', outside) // "(unreachable)/…"
	b.Goto(inside)
	b.Mark(outside)
	b.Fail(syscall.ENOENT)
	b.Mark(inside)
	b.Free(first)
	return nil
}

// descriptors arranges 0-2 and the preserved ones, moves the sockets that the child
// still needs behind them, and closes everything else.
func (p *plan) descriptors() ([3]bool, error) {
	b := p.b
	b.At("arrange the descriptors")
	var own [3]bool
	var sources []launch.Arg
	for i, f := range p.stdio {
		switch {
		case p.slave != 0:
			own[i] = true
			sources = append(sources, launch.In(p.slave))
			continue
		case p.tty != nil:
			own[i] = true
			f = p.tty
		case f == nil:
			null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
			if err != nil {
				return own, err
			}
			f = p.keep(null)
		default:
			own[i] = isPipe(f)
		}
		sources = append(sources, fd(f))
	}
	for _, f := range p.preserve {
		sources = append(sources, fd(f))
	}
	report := p.reportFD()
	end := report + 1 + len(p.until)
	// First everything goes above the final numbers, so that no source is closed
	// before it is used.
	targets := make([]launch.Slot, 0, end)
	raise := func(from launch.Arg) {
		to := b.Slot()
		b.Call(unix.SYS_FCNTL, from, launch.Int(unix.F_DUPFD_CLOEXEC), launch.Int(end)).Into(to)
		targets = append(targets, to)
	}
	for _, src := range sources {
		raise(src)
	}
	raise(launch.In(launch.Report))
	for _, f := range p.until {
		raise(fd(f))
	}
	for i, s := range targets {
		flags := 0
		if i > report || i == report && p.bounce == nil {
			flags = unix.O_CLOEXEC
		}
		b.Call(unix.SYS_DUP3, launch.In(s), launch.Int(i), launch.Int(flags))
	}
	b.Free(targets...)
	b.Set(launch.Report, launch.Int(p.reportFD()))
	if weak.Off("descriptors") {
		return own, nil
	}
	b.Call(unix.SYS_CLOSE_RANGE, launch.Int(end), launch.Word(0xffffffff), launch.Int(0))
	return own, nil
}

// reportFD is the number of the report socket after descriptors.
func (p *plan) reportFD() int { return len(p.stdio) + len(p.preserve) }

// untilFD is the number that one of p.until has after descriptors.
func (p *plan) untilFD(f *os.File) launch.Arg {
	return launch.Int(p.reportFD() + 1 + slices.Index(p.until, f))
}

// isPipe reports whether f may get another owner: only what exists for this process
// alone, never a file or a terminal of the host.
func isPipe(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// settle gives up the privileges.
func (p *plan) settle(own [3]bool) error {
	if err := privs.Rlimits(p.b, p.process.Rlimits, p.warn); err != nil {
		return err
	}
	return privs.Settle(p.b, privs.Config{
		Process: p.process,
		UserNS:  p.ns.private(unix.CLONE_NEWUSER),
		Nested:  p.nested,
		Filter:  p.filter, Flags: p.flags,
		Die:   p.die,
		Warn:  p.warn,
		Stdio: own,
	})
}

// session makes the process the leader of a session, with the terminal if it has one.
func (p *plan) session() {
	p.b.At("start a session")
	p.b.Call(unix.SYS_SETSID)
}

func (p *plan) controlTerminal() {
	if p.slave != 0 || p.tty != nil {
		p.b.At("take the terminal")
		p.b.Call(unix.SYS_IOCTL, launch.Int(0), launch.Int(unix.TIOCSCTTY), launch.Int(0))
	}
}

// loopback brings up lo in a new network namespace, as every container expects.
func (p *plan) loopback() {
	b := p.b
	b.At("bring up the loopback interface")
	req := b.Space(unix.IFNAMSIZ + 24) // struct ifreq
	copy(req.Bytes(), "lo")
	*(*uint16)(unsafe.Pointer(&req.Bytes()[unix.IFNAMSIZ])) = unix.IFF_UP
	sock := b.Slot()
	b.Call(unix.SYS_SOCKET, launch.Int(unix.AF_INET), launch.Int(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), launch.Int(0)).Into(sock)
	b.Call(unix.SYS_IOCTL, launch.In(sock), launch.Int(unix.SIOCSIFFLAGS), req.Addr())
	b.Close(sock)
}

// names sets host and domain name.
func (p *plan) names(host, domain string) error {
	for _, n := range []struct {
		kind, name string
		nr         uintptr
	}{{"host name", host, unix.SYS_SETHOSTNAME}, {"domain name", domain, unix.SYS_SETDOMAINNAME}} {
		if n.name == "" {
			continue
		}
		if !p.ns.private(unix.CLONE_NEWUTS) {
			return fault.New(fault.Invalid, "set the %s %q: it would change the host's, since the container uses the host's uts namespace", n.kind, n.name)
		}
		p.b.At("set the "+n.kind+" "+n.name, launch.Hint{Errno: syscall.EINVAL, Text: "the kernel takes at most 64 bytes"})
		p.b.Call(n.nr, p.b.Str(n.name), launch.Int(len(n.name)))
	}
	return nil
}

// plain is an error's text without the words that clients of the Engine API take for
// a missing or forbidden program.
func plain(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		return "it does not exist"
	case errors.Is(err, unix.EACCES):
		return "access is denied"
	}
	return err.Error()
}

// labels adds the security labels of the next execve.
func (p *plan) labels() error {
	if p.process.ApparmorProfile == "" && p.process.SelinuxLabel == "" {
		return nil
	}
	proc, err := p.procfs()
	if err != nil {
		return err
	}
	return privs.Labels(p.b, proc, p.process)
}
