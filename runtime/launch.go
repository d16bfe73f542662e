package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/mountapi"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/launch"
	"github.com/sampan-containers/sampan/runtime/privs"
	"github.com/sampan-containers/sampan/runtime/rootfs"
	"github.com/sampan-containers/sampan/runtime/systemd"
)

// Launch starts a container. It returns after the execve succeeded, or with Hold
// when only the execve is left. When it fails, nothing is left behind.
//
// The process in which the steps run, in order:
//
//	caller's namespaces      groups, OOM score; join namespaces; mount namespace with the root
//	[user namespace]         join it, make the other namespaces in it
//	[fork]                   if the PID namespace could not be made by the first clone
//	container's namespaces   mounts, devices, names, sysctls, directory, masks
//	no descriptors           limits, ids, capabilities, filter
//	[fork]                   if a PID namespace is joined: only now the process is visible in it
//	execve
func Launch(s *LaunchSpec) (_ *Container, retErr error) {
	l, err := newLauncher(s)
	if err != nil {
		return nil, err
	}
	defer l.close()
	defer func() {
		if retErr != nil {
			l.undo()
		}
	}()
	for _, step := range []func() error{
		l.openGroup, l.openUserNS, l.openRoot, l.compileFilter, l.openHooks, l.openTrampoline, l.compile,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l.run()
}

// launcher is the plan of a whole container.
type launcher struct {
	plan
	s       *LaunchSpec
	spec    *specs.Spec
	root    *os.File // detached mount, or nil without a mount namespace of our own
	entry   *rootfs.Entry
	fs      *rootfs.Plan
	place   string   // where on the host the root is attached, if it must be
	user    *os.File // user namespace to join, or nil
	made    bool     // the group is ours
	scope   *systemd.Scope
	unit    string // of systemd, that the group belongs to, or ""
	entered func() // ends who has held the scope, while the child waits in it; or nil

	early, late bool // when the final process is forked; see Launch
	files       int  // how many descriptors the child sends
	hooks       hookPoints
}

func newLauncher(s *LaunchSpec) (*launcher, error) {
	l := &launcher{s: s, spec: s.Spec, entered: s.Entered}
	switch {
	case s.Spec == nil || s.Spec.Process == nil:
		return nil, fault.New(fault.Invalid, "container %s: the specification has no process", s.ID)
	case s.Spec.Root == nil && s.Overlay == nil:
		return nil, fault.New(fault.Invalid, "container %s: the specification has no root", s.ID)
	}
	l.compiled = s.Filter
	l.warn = s.Warn
	if l.warn == nil {
		l.warn = func(string) {}
	}
	l.process, l.linux = s.Spec.Process, s.Spec.Linux
	if l.linux == nil {
		l.linux = &specs.Linux{}
	}
	l.stdio, l.preserve, l.die = s.Stdio, s.Preserve, s.DieWithParent
	if s.Hold && s.HoldSocket != nil {
		l.until = append(l.until, s.HoldSocket)
	}
	if l.linux.IntelRdt != nil && len(s.Groups) == 0 {
		return nil, fault.New(fault.NotImplemented, "linux.intelRdt is not supported by this way to launch")
	}
	var err error
	l.ns, err = parseNamespaces(l.linux.Namespaces, s.Namespaces)
	return l, err
}

// openGroup creates the control group, or takes the caller's.
func (l *launcher) openGroup() error {
	if l.group = l.s.Cgroup; l.group != nil {
		return nil
	}
	path := l.linux.CgroupsPath
	if path == "" {
		path = "/sampan/" + l.s.ID
	}
	if systemd.IsName(path) {
		return l.openScope(path)
	}
	g, err := cgroup.Create(path, l.linux.Resources, cgroup.Options{Warn: l.warn, Machine: l.s.Machine})
	if err != nil {
		return err
	}
	l.group, l.made = g, true
	return nil
}

// openUserNS makes or takes the user namespace.
func (l *launcher) openUserNS() error {
	switch {
	case l.ns.joins(unix.CLONE_NEWUSER):
		l.user = l.ns.join[unix.CLONE_NEWUSER]
	case l.ns.creates(unix.CLONE_NEWUSER):
		ns, err := privs.NewUserNS(l.linux.UIDMappings, l.linux.GIDMappings)
		if err != nil {
			return err
		}
		l.user = l.keep(ns)
	case len(l.linux.UIDMappings)+len(l.linux.GIDMappings) > 0:
		return fault.New(fault.Invalid, "the specification has id mappings but no user namespace")
	}
	return nil
}

// openRoot opens the root and everything that is mounted in it.
func (l *launcher) openRoot() error {
	done, err := l.findPlace()
	if done || err != nil {
		return err
	}
	if o := l.s.Overlay; o != nil {
		l.root, err = rootfs.OpenOverlay(mountapi.Overlay{Lower: o.Lower, Upper: o.Upper, Work: o.Work, IDMap: l.idMap()})
	} else {
		l.root, err = rootfs.OpenDir(absolute(l.s.Bundle, l.spec.Root.Path), l.linux.RootfsPropagation)
	}
	if err != nil {
		return err
	}
	l.keep(l.root)
	template := l.s.Template
	if l.place != "" {
		template = nil
	}
	if l.entry, err = rootfs.NewEntry(template); err != nil {
		return err
	}
	l.nested = l.entry.Nested()
	label := l.linux.MountLabel
	if label != "" && !privs.SELinux() {
		l.warn("linux.mountLabel " + label + " has no effect: this kernel has no SELinux, or it is off")
		label = ""
	}
	user := l.user != nil
	l.fs, err = rootfs.Prepare(l.root, rootfs.Config{
		Spec:     l.spec,
		Bundle:   l.s.Bundle,
		UserNS:   user,
		IDMap:    l.mapped(),
		Nested:   l.nested,
		OwnNet:   l.ns.creates(unix.CLONE_NEWNET) || l.ownsNet(),
		OwnPID:   l.ns.creates(unix.CLONE_NEWPID),
		PIDNS:    l.ns.join[unix.CLONE_NEWPID],
		Cgroups:  l.group.Visible(),
		ReadOnly: l.spec.Root != nil && l.spec.Root.Readonly || l.s.Overlay != nil && l.s.Overlay.ReadOnly,
		Label:    label,
		InOrder:  l.s.TableInOrder,
		Warn:     l.warn,
	})
	return err
}

// findPlace decides where the root is attached. As a rule that is nowhere on the host.
// createContainer hooks expect it where root.path says, beside the host's files, and so
// do mounts in a mount namespace that is not new. A root that nothing is mounted in is
// opened only (done).
func (l *launcher) findPlace() (done bool, err error) {
	own := l.ns.creates(unix.CLONE_NEWNS)
	hooks := len(l.createContainer()) > 0
	changes := len(l.spec.Mounts)+len(l.linux.MaskedPaths)+len(l.linux.ReadonlyPaths) > 0 || l.process.Terminal ||
		l.spec.Root != nil && l.spec.Root.Readonly
	switch {
	case own && !hooks:
		return false, nil
	case !own && l.s.Overlay != nil:
		return false, fault.New(fault.Invalid, "a root made of layers needs a new mount namespace")
	case l.s.Overlay != nil:
		return false, fault.New(fault.NotImplemented, "createContainer hooks need a root file system that is a directory")
	case !own && changes && l.user != nil:
		return false, fault.New(fault.Invalid, "mounts, masked and read-only paths in a user namespace need a new mount namespace")
	case own, changes, hooks:
		if l.place, err = filepath.EvalSymlinks(absolute(l.s.Bundle, l.spec.Root.Path)); err != nil {
			return false, fault.New(fault.Invalid, "root file system %s: %s", l.spec.Root.Path, plain(err))
		}
		return false, nil
	case l.ns.joins(unix.CLONE_NEWNS):
		return true, nil // it brings its root with it
	}
	path := absolute(l.s.Bundle, l.spec.Root.Path)
	root, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return false, fault.New(fault.Invalid, "root file system %s: %s", path, plain(err))
	}
	l.root = l.keep(root)
	return true, nil
}

// compile makes the program.
func (l *launcher) compile() error {
	l.process = privs.Environment(l.process, l.root)
	l.b = launch.NewBuilder()
	pidJoined := l.ns.joins(unix.CLONE_NEWPID)
	l.early = !pidJoined && (l.user != nil && l.ns.creates(unix.CLONE_NEWPID) || l.ns.creates(unix.CLONE_NEWTIME))
	l.late = pidJoined
	if err := l.joinCgroups(); err != nil {
		return err
	}
	l.joinFurther(l.s.Groups)
	if l.die {
		privs.DieWithParent(l.b)
	}
	for _, step := range []func() error{
		l.attributes, l.enterNamespaces, l.build, l.finish,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// build adds what happens in the container's namespaces.
func (l *launcher) build() error {
	b := l.b
	b.At("set the umask")
	b.Call(unix.SYS_UMASK, launch.Int(0))
	if !l.late {
		l.session()
	}
	l.waitForHooks()
	if !l.s.KeepKeyring {
		privs.SessionKeyring(b)
	}
	if l.ns.creates(unix.CLONE_NEWNET) {
		l.loopback()
	}
	sent := []launch.Arg{launch.In(l.tree.Root)}
	if l.fs != nil {
		if err := l.fs.Compile(b, l.tree); err != nil {
			return err
		}
		if l.fs.Devpts() {
			ptmx := b.Slot()
			l.fs.Ptmx(b, l.tree, ptmx)
			sent = append(sent, launch.In(ptmx))
		}
		if l.process.Terminal {
			master := b.Slot()
			l.slave = b.Slot()
			if err := l.fs.Terminal(b, l.tree, &rootfs.Console{Size: l.process.ConsoleSize, RawOutput: l.s.RawOutput}, master, l.slave); err != nil {
				return err
			}
			sent = append(sent, launch.In(master))
		}
	}
	l.createHooks()
	if l.place != "" && l.fs != nil {
		l.fs.Cover(b, l.tree) // the base goes with the host's files
	}
	l.leaveHost()
	if err := l.names(l.spec.Hostname, l.spec.Domainname); err != nil {
		return err
	}
	if err := l.sysctls(); err != nil {
		return err
	}
	if err := l.enterDirectory(l.fs != nil); err != nil {
		return err
	}
	if l.fs != nil {
		if l.place == "" {
			l.fs.Cover(b, l.tree)
		}
		if err := l.fs.Seal(b, l.tree); err != nil {
			return err
		}
	}
	if err := l.labels(); err != nil {
		return err
	}
	b.At("hand over the container's descriptors")
	b.Send(sent...)
	l.files = len(sent)
	return nil
}

// finish adds what happens without descriptors, up to the execve.
func (l *launcher) finish() error {
	b := l.b
	own, err := l.descriptors()
	if err != nil {
		return err
	}
	if l.s.Hold && !l.late {
		l.barrier()
	}
	if err := privs.Personality(b, l.linux.Personality); err != nil {
		return err
	}
	if err := privs.MemoryPolicy(b, l.linux.MemoryPolicy); err != nil {
		return err
	}
	if !l.late {
		l.controlTerminal()
	}
	if err := l.settle(own); err != nil {
		return err
	}
	if l.late {
		l.forkVisible()
		if l.s.Hold {
			l.barrier() // whoever waits for the start must know the final process
		}
	}
	l.startHooks()
	return l.execute()
}

// forkVisible makes the process that the members of a joined PID namespace can see,
// and trace. It has nothing left that they must not have.
func (p *plan) forkVisible() {
	b := p.b
	child := b.Label()
	pid := b.Slot()
	b.At("fork the process into the container's PID namespace",
		launch.Hint{Errno: syscall.ENOMEM, Text: "its first process has ended"},
		launch.Hint{Errno: syscall.EAGAIN, Text: "the limit of processes is reached: pids limit or RLIMIT_NPROC"},
		launch.Hint{Errno: syscall.EPERM, Text: "the seccomp profile must allow clone"})
	b.Fork(pid, unix.CLONE_PARENT, child)
	b.Say(launch.Forked, launch.In(pid))
	b.Exit(0)
	b.Mark(child)
	p.session()
	p.controlTerminal()
	if p.die {
		privs.DieWithParent(b)
	}
}

// undo takes back what compile's predecessors made on the host.
func (l *launcher) undo() {
	l.undoPlace()
	if l.made {
		if err := removeGroup(l.group, l.unit); err != nil {
			l.warn("the control group of a container that did not start is left: " + err.Error())
		}
	}
}

// undoPlace takes the root off the host's mount namespace, where it is there.
func (l *launcher) undoPlace() {
	if l.place == "" || l.ns.private(unix.CLONE_NEWNS) {
		return
	}
	if err := rootfs.Unmount(l.place); err != nil {
		l.warn(err.Error())
	}
}

func (l *launcher) close() {
	if l.scope != nil {
		l.scope.Release()
	}
	if l.entry != nil {
		l.entry.Close()
	}
	if l.fs != nil {
		l.fs.Close()
	}
	l.ns.close()
	l.plan.close()
}

// run starts the program and waits for its end in the execve, or at the barrier.
func (l *launcher) run() (*Container, error) {
	c := &Container{ID: l.s.ID, Cgroup: l.group, unit: l.unit, spec: l.spec, compiled: l.compiled, bundle: l.s.Bundle, warn: l.warn, private: l.ns.flags()}
	program, err := l.b.Finish()
	if err != nil {
		return nil, err
	}
	o := launch.StartOptions{Flags: l.cloneFlags()}
	if dir, ok := l.group.DirFD(); ok {
		o.Cgroup = dir
	}
	o.Share = l.mayShare()
	var w *watch
	l.s.Ahead.Do(func(made uintptr) {
		o.Flags &^= made
		w, err = startWatch(program, o, l.early || l.late)
	})
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", l.s.ID, err)
	}
	w.program = l.process.Args[0]
	w.files = l.files
	w.hold = l.s.Hold
	w.atWait, w.hooked, w.late = l.runHooks, l.hooks.waits, l.late
	w.notify = l.onListener(func(pid int) *specs.State { return l.state(specs.StateCreating, pid) })
	if err := w.listen(); err != nil {
		return nil, err
	}
	c.Pid, c.PidFD = w.pid, w.pidfd
	c.take(w.got, l)
	switch {
	case !w.held:
		l.poststart(w.pid)
	case l.s.HoldSocket == nil:
		c.held, c.started = w, func() { l.poststart(w.pid) }
	default:
		w.child.Close()
	}
	return c, nil
}

// mayShare tells whether the child may work in this process's memory: it must be
// alone in its PID namespace until its execve, and end in it without a stop.
func (l *launcher) mayShare() bool {
	return l.ns.creates(unix.CLONE_NEWPID) && l.user == nil && !l.nested && !l.early && !l.late && !l.s.Hold && !l.hooks.waits && l.plan.mayShare()
}

// mayShare is the part that a container and an exec have in common. Memory whose
// user changes its ids makes the files of a process in /proc root's, and these are
// then our own files too. A seccomp listener is handed over with the caller's help. A
// time namespace takes no process with memory in common (EUSERS).
func (p *plan) mayShare() bool {
	return !p.ns.private(unix.CLONE_NEWTIME) && !p.ns.private(unix.CLONE_NEWUSER) && p.flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 && os.Geteuid() == 0
}

// take sorts the descriptors that the child sent.
func (c *Container) take(files []*os.File, l *launcher) {
	c.Root, files = files[0], files[1:]
	if l.fs != nil && l.fs.Devpts() {
		c.ptmx, files = files[0], files[1:]
	}
	if l.slave != 0 {
		c.Console = files[0]
	}
}
