package checkpoint

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/hook"
)

// Restoration is what a restore needs besides the options.
type Restoration struct {
	Subject
	Bundle string
	// Dir is an empty directory for the root file system, on which criu insists that it
	// be a mount; it is mounted in a namespace that ends with criu.
	Dir   string
	Stdio [3]*os.File
	State *specs.State // what hooks are told, without the process
	// Restored is called with the first process, which waits for it.
	Restored func(pid int) error
	// Terminal gets the master of the container's terminal.
	Terminal func(*os.File) error
}

// Restore makes the processes again. The first of them is a child of the caller. When it
// fails nothing of them is left.
func Restore(r *Restoration, o *Options) error {
	if err := o.directories(false); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return fmt.Errorf("restore container %s: %w", r.ID, err)
	}
	if err := o.checkFeatures(); err != nil {
		return fmt.Errorf("restore container %s: %w", r.ID, err)
	}
	q := o.request(&r.Subject, restoreLog)
	q.evasiveDevices, q.sibling = true, true
	q.lsmProfile, q.lsmMountContext = o.LSMProfile, o.LSMMountContext
	var err error
	if q.inherit, err = o.loadStreams(); err != nil {
		return err
	}
	files, err := r.namespaces(q)
	defer func() { closeAll(files) }()
	if err != nil {
		return err
	}
	if err := r.makeTargets(); err != nil {
		return fmt.Errorf("restore container %s: %w", r.ID, err)
	}
	w, dirs, err := r.startInside(o, q, files)
	defer func() { closeAll(dirs) }()
	if err != nil {
		return fmt.Errorf("restore container %s: %w", r.ID, err)
	}
	if err := r.enterGroup(w.process.Pid, q); err != nil {
		return errors.Join(fmt.Errorf("restore container %s: %w", r.ID, err), w.end())
	}
	answer, err := w.ask(&request{typ: typeRestore, opts: q}, r.notice)
	if ended := w.end(); err == nil && answer.success {
		err = ended
	}
	if err != nil || !answer.success {
		return o.failure(&r.Subject, typeRestore, restoreLog, answer, err)
	}
	return nil
}

// notice answers a notification of criu.
func (r *Restoration) notice(n *response, file *os.File) error {
	switch n.script {
	case "setup-namespaces":
		return r.prepared(n.pid)
	case "post-restore":
		return r.Restored(n.pid)
	case "orphan-pts-master":
		if file == nil {
			return errors.New("criu announced a terminal and sent none")
		}
		return r.Terminal(file)
	}
	return nil
}

// prepared runs the hooks of a container whose namespaces are there; nothing runs yet.
func (r *Restoration) prepared(pid int) error {
	h := r.Spec.Hooks
	if h == nil {
		return nil
	}
	r.State.Pid = pid
	//lint:ignore SA1019 deprecated, and still a part of the specification
	if err := hook.Run(context.Background(), "prestart", h.Prestart, r.State); err != nil {
		return err
	}
	return hook.Run(context.Background(), "createRuntime", h.CreateRuntime, r.State)
}

// namespaces opens the namespaces that are joined. The network's and the PID namespace
// were left out of the checkpoint and take their place by descriptor.
func (r *Restoration) namespaces(q *options) (files []*os.File, err error) {
	if r.Spec.Linux == nil {
		return nil, nil
	}
	for _, ns := range r.Spec.Linux.Namespaces {
		if ns.Path == "" {
			continue
		}
		switch ns.Type {
		case specs.NetworkNamespace, specs.PIDNamespace:
			f, err := os.Open(ns.Path)
			if err != nil {
				return files, fault.New(fault.Invalid, "restore container %s: open the %s namespace to join: %w", r.ID, ns.Type, err)
			}
			files = append(files, f)
			q.inherit = append(q.inherit, inherited{externalKey(ns.Type), firstFile + len(files) - 1})
		case specs.CgroupNamespace, specs.TimeNamespace:
			return files, fault.New(fault.NotImplemented, "restore container %s: criu cannot join a %s namespace; leave linux.namespaces[].path out", r.ID, ns.Type)
		default:
			q.join = append(q.join, mountMap{criuName(ns.Type), ns.Path})
		}
	}
	return files, nil
}

// startInside starts criu in a mount namespace of its own, in which the container's root
// is a mount, as criu wants it. What is mounted there is gone with criu, however it ends;
// the host's table never has it.
func (r *Restoration) startInside(o *Options, q *options, files []*os.File) (w *worker, dirs []*os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = r.mount(q); err != nil {
			return
		}
		// In that namespace too: criu mounts something in its working directory.
		if dirs, err = o.open(q); err == nil {
			w, err = start(o.Program, r.Stdio, files...)
		}
	}()
	<-done
	return w, dirs, err
}

func (r *Restoration) mount(q *options) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace for criu: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("separate the mount namespace of criu: %w", err)
	}
	root, empty := filepath.Join(r.Dir, "root"), filepath.Join(r.Dir, "empty")
	if err := unix.Mount("tmpfs", r.Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mount a tmpfs for criu: %w", err)
	}
	for _, dir := range []string{root, empty} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(r.Root, root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fault.New(fault.Invalid, "mount the root file system %s for criu: %w", r.Root, err)
	}
	if err := unix.Mount("", root, "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("separate the root file system for criu: %w", err)
	}
	q.root = root
	q.mounts = append(q.mounts, mountMap{keyEmpty, empty}, mountMap{keyNull, "/dev/null"})
	for i := range r.Spec.Mounts {
		if m := &r.Spec.Mounts[i]; isBind(m) {
			q.mounts = append(q.mounts, mountMap{path.Clean("/" + m.Destination), r.source(m)})
		}
	}
	if r.Spec.Linux != nil {
		for _, d := range r.Spec.Linux.Devices {
			q.mounts = append(q.mounts, mountMap{path.Clean("/" + d.Path), d.Path})
		}
	}
	return nil
}

// source is where a bind mount comes from.
func (r *Restoration) source(m *specs.Mount) string {
	source := m.Source
	if !filepath.IsAbs(source) {
		source = filepath.Join(r.Bundle, source)
	}
	// Criu takes a link for what it is.
	if real, err := filepath.EvalSymlinks(source); err == nil {
		return real
	}
	return source
}

// enterGroup puts criu into the container's control group, so that what it restores is
// there, and tells it the group's path in each hierarchy: the one in the images is that
// of the container that was saved.
func (r *Restoration) enterGroup(pid int, q *options) error {
	for controller, dir := range r.Groups {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), strconv.AppendInt(nil, int64(pid), 10), 0); err != nil {
			return fmt.Errorf("put criu into the control group (%s): %w", cmp.Or(controller, "version 2"), err)
		}
	}
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return fmt.Errorf("read the control groups of criu: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		part := strings.SplitN(lines.Text(), ":", 3)
		if len(part) != 3 {
			continue
		}
		if part[1] == "" {
			if _, used := r.Groups[""]; used {
				// Without a controller it is for all that were not named.
				q.cgroupRoots = append(q.cgroupRoots, mountMap{"", part[2]})
			}
			continue
		}
		for controller := range strings.SplitSeq(part[1], ",") {
			q.cgroupRoots = append(q.cgroupRoots, mountMap{controller, part[2]})
		}
	}
	return nil
}

// MayGainPrivileges tells that a process is without no_new_privs, which criu does not know
// before its version 4.
func MayGainPrivileges(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err == nil && strings.Contains(string(status), "\nNoNewPrivs:\t0\n")
}
