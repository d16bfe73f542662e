package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/pidfd"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/ahead"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/forward"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/hook"
	"github.com/sampan-containers/sampan/runtime/rdt"
	"github.com/sampan-containers/sampan/runtime/rootless"
)

// launchOptions are the options that run, create and exec share.
type launchOptions struct {
	bundle, console, pidFile string
	preserve                 int
	pidfdSocket              string
	detach, keep             bool
	keyring, pivot           bool
	subreaper                bool
}

func (o *launchOptions) flags() flags {
	return flags{
		{names: "bundle b", text: &o.bundle, about: "the bundle (default: the current directory)"},
		{names: "console-socket", text: &o.console, about: "send the terminal's master to this UNIX socket"},
		{names: "pid-file", text: &o.pidFile, about: "specify the file to write the process id to"},
		{names: "pidfd-socket", text: &o.pidfdSocket, about: "path to an AF_UNIX socket which will receive a file descriptor referencing the init process"},
		{names: "preserve-fds", number: &o.preserve, about: "pass N descriptors, from 3 on, to the program"},
		{names: "no-new-keyring", set: &o.keyring, about: "do not create a new session keyring for the container; it inherits the calling process's session key"},
		{names: "no-pivot", set: &o.pivot, about: "accepted; a root on a ramdisk needs no special treatment"},
	}
}

func createCommand(c *call) (int, error) {
	var o launchOptions
	args, err := c.parse(o.flags(), 1, 1)
	if err != nil {
		return 0, err
	}
	o.detach = true
	if code, done, err := c.withoutRoot(o.bundle, true); done || err != nil {
		return code, err
	}
	k, ct, err := c.create(args[0], &o, true)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	return 0, ct.Close()
}

// create does what create and run have in common. The container is returned locked.
func (c *call) create(id string, o *launchOptions, hold bool) (_ *record.Container, _ *runtime.Container, retErr error) {
	bundle, spec, raw, err := config.Load(o.bundle, hold)
	if err != nil {
		return nil, nil, err
	}
	recorded := spec
	if c.entered {
		spec = rootless.Entered(spec)
	}
	if runtime.NeedsSeal(spec, hold) {
		if err := runtime.SealSelf(); err != nil {
			return nil, nil, err
		}
	}
	if err := o.checkTerminal(spec.Process); err != nil {
		return nil, nil, err
	}
	early := ahead.Make(spec)
	defer early.Dismiss()
	preserve, err := preserved(o.preserve)
	if err != nil {
		return nil, nil, err
	}
	k, err := c.records.Make(id)
	if err != nil {
		return nil, nil, err
	}
	k.Spec = spec
	defer func() {
		if retErr != nil {
			if err := errors.Join(k.LeaveRDT(), k.Remove()); err != nil {
				c.log.warn(err.Error())
			}
			k.Close()
		}
	}()
	g, group, release, err := c.makeGroup(k, spec, bundle)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		leave(release)
		if retErr != nil {
			_ = g.Kill(context.Background())
			if err := g.Remove(context.Background()); err != nil {
				c.log.warn(err.Error())
			}
			c.stopUnit(group.unitName())
		}
	}()
	l := &runtime.LaunchSpec{
		ID: id, Spec: spec, Bundle: bundle, Cgroup: g, Entered: release, Hold: hold, Warn: c.log.warn,
		Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, Preserve: preserve,
		Ahead: early, TableInOrder: true, KeepKeyring: o.keyring, FindProgram: spec.Process.Args[0] != config.NoProgram,
		RawOutput: o.console == "",
	}
	if l.Groups, err = rdt.Join(k.Dir(), id, spec.Linux); err != nil {
		return nil, nil, err
	}
	if hold {
		if l.HoldSocket, err = runtime.Listen(k.Dir()); err != nil {
			return nil, nil, err
		}
		defer l.HoldSocket.Close()
	}
	ct, err := runtime.Launch(l)
	if err != nil {
		c.afterFailure(spec, id, bundle)
		return nil, nil, err
	}
	c.mounts = pidfd.Mounts(ct.PidFD)
	defer func() {
		if retErr != nil {
			abandon(ct)
			c.afterFailure(spec, id, bundle)
		}
	}()
	c.log.debugf("container %s: process %d", id, ct.Pid)
	k.Record = record.Record{
		Version: spec.Version, ID: id, Bundle: bundle, Rootfs: spec.Root.Path,
		Created: time.Now().UTC(), Cgroup: group.path, Unit: group.unitName(), Annotations: spec.Annotations, Config: raw, Spec: recorded,
		KeepKeyring: o.keyring,
	}
	if !filepath.IsAbs(k.Rootfs) {
		k.Rootfs = filepath.Join(bundle, k.Rootfs)
	}
	if err := k.Begun(ct.Pid); err != nil {
		return nil, nil, fmt.Errorf("the container's process has ended: %w", err)
	}
	if err := k.Save(); err != nil {
		return nil, nil, err
	}
	if err := o.sendConsole(ct.Console); err != nil {
		return nil, nil, err
	}
	if err := o.sendPidfd(ct.PidFD); err != nil {
		return nil, nil, err
	}
	return k, ct, writePid(o.pidFile, ct.Pid)
}

// afterFailure runs the poststop hooks of a container that did not come to be: where a
// hook before the start fails, the lifecycle goes on with them (runtime.md, lifecycle).
func (c *call) afterFailure(spec *specs.Spec, id, bundle string) {
	if spec.Hooks == nil {
		return
	}
	state := &specs.State{Version: specs.Version, ID: id, Status: specs.StateStopped, Bundle: bundle, Annotations: spec.Annotations}
	hook.RunAll(context.Background(), "poststop", spec.Hooks.Poststop, state, c.log.warn)
}

// sendPidfd hands a descriptor of the process to whoever listens at the socket.
func (o *launchOptions) sendPidfd(pidfd *os.File) error {
	if o.pidfdSocket == "" {
		return nil
	}
	if err := sendTo(o.pidfdSocket, "pidfd", pidfd); err != nil {
		return fmt.Errorf("send the pidfd: %w", err)
	}
	return nil
}

// abandon ends a container that was launched, but could not be recorded.
func abandon(ct *runtime.Container) {
	_ = unix.PidfdSendSignal(int(ct.PidFD.Fd()), unix.SIGKILL, nil, 0)
	forward.Reap(ct.Pid)
	if ct.Console != nil {
		ct.Console.Close()
	}
	_ = ct.Close()
}

// preserved returns the descriptors 3 to 2+n, and those that systemd's socket
// activation announced.
func preserved(n int) ([]*os.File, error) {
	if listen := os.Getenv("LISTEN_FDS"); listen != "" {
		more, err := strconv.Atoi(listen)
		if err != nil || more < 0 {
			return nil, fault.New(fault.Invalid, "LISTEN_FDS=%q is not a number", listen)
		}
		n += more
	}
	const most = 1 << 16
	if n > most {
		return nil, fault.New(fault.Invalid, "--preserve-fds %d is more than %d", n, most)
	}
	var list []*os.File
	for fd := 3; fd < 3+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return nil, fault.New(fault.Invalid, "--preserve-fds: descriptor %d is not open", fd)
		}
		list = append(list, os.NewFile(uintptr(fd), "preserved"))
	}
	return list, nil
}

func writePid(name string, pid int) error {
	if name == "" {
		return nil
	}
	if err := record.Replace(name, strconv.AppendInt(nil, int64(pid), 10), 0o644); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	return nil
}
