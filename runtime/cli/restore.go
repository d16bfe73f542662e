package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/pidfd"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/checkpoint"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/forward"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/cli/tty"
)

// criuDir is where a restore has the root file system mounted, beside the record and in a
// mount namespace of its own.
const criuDir = "criu"

func restoreCommand(c *call) (int, error) {
	o := &criuFlags{}
	o.StatusFD = -1
	var l launchOptions
	args, err := c.parse(append(o.flags(),
		flag{names: "console-socket", text: &l.console, about: "send the terminal's master to this UNIX socket"},
		flag{names: "bundle b", text: &l.bundle, about: "the bundle (default: the current directory)"},
		flag{names: "detach d", set: &l.detach, about: "detach from the container's process"},
		flag{names: "pid-file", text: &l.pidFile, about: "specify the file to write the process id to"},
		flag{names: "no-subreaper", set: &l.subreaper, about: "accepted; orphans of a container are never reaped here"},
		flag{names: "no-pivot", set: &l.pivot, about: "accepted; a root on a ramdisk needs no special treatment"},
		flag{names: "lsm-profile", text: &o.LSMProfile, about: "LSM profile to be used during restore, in the form TYPE:NAME"},
		flag{names: "lsm-mount-context", text: &o.LSMMountContext, about: "LSM mount context to be used during restore"},
	), 1, 1)
	if err != nil {
		return 0, err
	}
	if err := o.take(c); err != nil {
		return 0, err
	}
	signals := -1
	if !l.detach {
		// From here on a signal is for the container.
		if signals, err = forward.Catch(); err != nil {
			return 0, err
		}
	}
	r := &restore{call: c, launchOptions: &l}
	if err := r.run(args[0], &o.Options); err != nil {
		return 0, err
	}
	defer r.group.Close()
	defer r.pidfd.Close()
	if l.detach {
		r.k.Close()
		return 0, nil
	}
	r.k.Close() // others may exec, kill and look while it runs
	code := forward.Follow(r.k.Pid, r.pidfd, signals, r.session)
	if err := r.k.Lock(); err != nil {
		return code, nil // deleted by somebody else
	}
	defer r.k.Close()
	return code, c.destroy(r.k, r.group)
}

// restore is one that is under way.
type restore struct {
	*call
	*launchOptions
	k       *record.Container
	group   *cgroup.Group
	pidfd   *os.File
	session *tty.Session
	unit    string // of systemd, or nothing
}

// run restores a container and leaves its record locked.
func (r *restore) run(id string, o *checkpoint.Options) (retErr error) {
	bundle, spec, raw, err := config.Load(r.bundle, false)
	if err != nil {
		return err
	}
	if err := r.checkTerminal(spec.Process); err != nil {
		return err
	}
	if r.k, err = r.records.Make(id); err != nil {
		return err
	}
	k := r.k
	k.Record = record.Record{
		Version: spec.Version, ID: id, Bundle: bundle, Rootfs: spec.Root.Path,
		Annotations: spec.Annotations, Config: raw, Spec: spec,
	}
	if !filepath.IsAbs(k.Rootfs) {
		k.Rootfs = filepath.Join(bundle, k.Rootfs)
	}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, r.undo())
		}
	}()
	g, group, release, err := r.makeGroup(k, spec, bundle)
	if err != nil {
		return err
	}
	defer leave(release)
	if g.Empty() {
		return fault.New(fault.NotImplemented, "restore container %s: criu needs a control group, and its user may not make one", id)
	}
	r.group, r.unit, k.Cgroup, k.Unit = g, group.unitName(), group.path, group.unitName()
	dir := filepath.Join(k.Dir(), criuDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("restore container %s: %w", id, err)
	}
	if err := checkpoint.Restore(&checkpoint.Restoration{
		Subject: checkpoint.Subject{ID: id, Spec: spec, Root: k.Rootfs, Groups: r.group.Paths()},
		Bundle:  bundle, Dir: dir, Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr},
		State: k.State(string(specs.StateCreating)), Restored: r.restored, Terminal: r.terminal,
	}, o); err != nil {
		return err
	}
	_ = os.Remove(dir) // with the record at the latest
	if r.pidfd == nil {
		return fmt.Errorf("restore container %s: criu did not say which is its first process", id)
	}
	return writePid(r.pidFile, k.Pid)
}

// restored records the first process, which does not run yet.
func (r *restore) restored(pid int) error {
	var err error
	if r.pidfd, err = pidfd.Open(pid); err != nil {
		return err
	}
	k := r.k
	k.Created = time.Now().UTC()
	if err := k.Begun(pid); err != nil {
		return fmt.Errorf("the restored process has ended: %w", err)
	}
	if p := k.Spec.Process; p != nil && p.NoNewPrivileges && checkpoint.MayGainPrivileges(pid) {
		r.log.warn("process.noNewPrivileges is not in effect: this criu does not restore it")
	}
	return k.Save()
}

// terminal takes the master of the container's terminal, which is closed afterwards.
func (r *restore) terminal(master *os.File) (err error) {
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if r.console != "" {
		return r.sendConsole(master)
	}
	r.session, err = tty.Attach(master)
	return err
}

// undo takes away what a failed restore has made.
func (r *restore) undo() error {
	if r.session != nil {
		r.session.End()
	}
	if r.pidfd != nil {
		_ = unix.PidfdSendSignal(int(r.pidfd.Fd()), unix.SIGKILL, nil, 0)
		forward.Reap(r.k.Pid)
		r.pidfd.Close()
	}
	var err error
	if r.group != nil {
		if err = r.group.Kill(context.Background()); err == nil {
			err = r.group.Remove(context.Background())
		}
	}
	r.stopUnit(r.unit)
	err = errors.Join(err, r.k.Remove())
	r.k.Close()
	return err
}
