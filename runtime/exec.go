package runtime

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/privs"
	"github.com/sampan-containers/sampan/runtime/rootfs"
)

// Exec starts a further process in the container and returns after its execve.
//
// All joining, and all work with more rights than the process will have, is done by
// a first process outside of the container's PID namespace. The members of that
// namespace can trace whatever becomes visible in it, so the visible process is
// forked last: with the final ids, capabilities, groups and filter, and with no
// descriptor but its own and the report socket (CVE-2016-9962, CVE-2024-21626).
func (c *Container) Exec(e *ExecSpec) (_ *Process, retErr error) {
	if e.Process == nil {
		return nil, fault.New(fault.Invalid, "exec in container %s: no process is given", c.ID)
	}
	process := privs.Environment(e.Process, c.Root)
	linux := c.spec.Linux
	if linux == nil {
		linux = &specs.Linux{}
	}
	p := &plan{
		b: launch.NewBuilder(), process: process, linux: linux, compiled: c.compiled, group: c.Cgroup, warn: c.warn,
		stdio: e.Stdio, preserve: e.Preserve, ns: &namespaces{create: c.private},
		nested: os.Geteuid() != 0 || !privs.InitialUserNS(),
	}
	defer p.close()
	var master *os.File
	defer func() {
		if retErr != nil && master != nil {
			master.Close()
		}
	}()
	var err error
	if e.Process.Terminal {
		if master, p.tty, err = c.openTerminal(&rootfs.Console{Size: e.Process.ConsoleSize, RawOutput: e.RawOutput}); err != nil {
			return nil, err
		}
		p.keep(p.tty)
	}
	if err := p.compileFilter(); err != nil {
		return nil, err
	}
	if err := c.compileExec(p, e); err != nil {
		return nil, err
	}
	program, err := p.b.Finish()
	if err != nil {
		return nil, err
	}
	o := launch.StartOptions{}
	if p.group != nil {
		if dir, ok := p.group.DirFD(); ok {
			o.Cgroup = dir
		}
	}
	// The first process stays outside of the PID namespace, so nobody in the container
	// can trace it; the visible one gets a copy of the memory when it is forked. But the
	// thread that clones it sleeps until then, and a working directory on a file system
	// that does not answer makes that long: a supervisor that has only the one for its
	// goroutines must not wait with it.
	o.Share = p.ns.creates(unix.CLONE_NEWPID) && p.mayShare() && !p.nested && goruntime.GOMAXPROCS(0) > 1
	w, err := startWatch(program, o, p.ns.creates(unix.CLONE_NEWPID))
	if err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", c.ID, err)
	}
	w.program = e.Process.Args[0]
	w.notify = p.onListener(func(int) *specs.State {
		if e.State != nil {
			return e.State
		}
		return &specs.State{Version: specs.Version, ID: c.ID, Status: specs.StateRunning, Pid: c.Pid, Bundle: c.bundle, Annotations: c.spec.Annotations}
	})
	if err := w.listen(); err != nil {
		if ended, _ := c.ended(); ended {
			return nil, fault.New(fault.Conflict, "exec in container %s: it is not running", c.ID)
		}
		return nil, err
	}
	return &Process{Pid: w.pid, PidFD: w.pidfd, Console: master}, nil
}

func (c *Container) compileExec(p *plan, e *ExecSpec) error {
	b := p.b
	if err := privs.Affinity(b, "initial", p.process.ExecCPUAffinity); err != nil {
		return err
	}
	if p.group != nil {
		if err := p.joinCgroups(); err != nil {
			return err
		}
	}
	p.joinFurther(e.Groups)
	if err := privs.Affinity(b, "final", p.process.ExecCPUAffinity); err != nil {
		return err
	}
	if err := p.attributes(); err != nil {
		return err
	}
	if err := p.labels(); err != nil {
		return err
	}
	b.At("join the container's namespaces",
		launch.Hint{Errno: syscall.ESRCH, Text: "its first process has ended"})
	if p.ns.create != 0 {
		b.Setns(fd(c.PidFD), p.ns.create)
	}
	p.tree = rootfs.Tree{Root: b.Slot()}
	if p.ns.creates(unix.CLONE_NEWNS) {
		b.Openat(launch.Cwd(), "/", unix.O_PATH|unix.O_DIRECTORY, 0).Into(p.tree.Root)
	} else {
		b.Set(p.tree.Root, fd(c.Root))
		b.Fchdir(fd(c.Root))
		b.Call(unix.SYS_CHROOT, b.Str("."))
	}
	if !e.KeepKeyring {
		privs.SessionKeyring(b)
	}
	visible := p.ns.creates(unix.CLONE_NEWPID)
	if !visible {
		p.session()
	}
	if err := p.enterDirectory(false); err != nil {
		return err
	}
	own, err := p.descriptors()
	if err != nil {
		return err
	}
	if err := errors.Join(privs.Personality(b, p.linux.Personality), privs.MemoryPolicy(b, p.linux.MemoryPolicy)); err != nil {
		return err
	}
	if !visible {
		p.controlTerminal()
	}
	if err := p.settle(own); err != nil {
		return err
	}
	if visible {
		p.forkVisible()
	}
	return p.execute()
}

// openTerminal makes a terminal in the container's devpts, by the descriptor that was
// taken when that was mounted: no path of the container is used.
func (c *Container) openTerminal(o *rootfs.Console) (master, slave *os.File, err error) {
	if c.ptmx == nil {
		return nil, nil, fault.New(fault.Invalid, "exec in container %s: a terminal needs a devpts mounted at /dev/pts", c.ID)
	}
	master, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", c.ptmx.Fd()), unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("exec in container %s: make a terminal: %s", c.ID, plain(err))
	}
	fd := int(master.Fd())
	var peer uintptr
	err = errors.Join(
		unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		func() (err error) {
			if size := o.Size; size != nil {
				err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)})
			}
			return err
		}(),
		func() error {
			r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
			if e != 0 {
				return e
			}
			peer = r
			if o.RawOutput {
				return unix.IoctlSetTermios(int(r), unix.TCSETS, rootfs.Raw())
			}
			return nil
		}(),
	)
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("exec in container %s: make a terminal: %w", c.ID, err)
	}
	return master, os.NewFile(peer, "terminal"), nil
}
