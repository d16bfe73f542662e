package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/inroot"
	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/forward"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/cli/tty"
	"github.com/sampan-containers/sampan/runtime/speccheck"
)

// execOptions are exec's options beside those of launchOptions.
type execOptions struct {
	launchOptions
	cwd, user, process, label, apparmor string
	env, groups, caps                   []string
	tty, noNewPrivs, ignorePaused       bool
	subgroups                           []string
}

func execCommand(c *call) (int, error) {
	var o execOptions
	f := flags{
		{names: "console-socket", text: &o.console, about: "send the terminal's master to this UNIX socket"},
		{names: "cwd", text: &o.cwd, about: "working directory"},
		{names: "env e", list: &o.env, about: "set an environment variable"},
		{names: "tty t", set: &o.tty, about: "give the process a terminal"},
		{names: "user u", text: &o.user, about: "ids of the process"},
		{names: "additional-gids g", list: &o.groups, about: "a further group"},
		{names: "process p", text: &o.process, about: "take the process from a JSON file"},
		{names: "detach d", set: &o.detach, about: "return when the program runs"},
		{names: "pid-file", text: &o.pidFile, about: "specify the file to write the process id to"},
		{names: "pidfd-socket", text: &o.pidfdSocket, about: "path to an AF_UNIX socket which will receive a file descriptor referencing the exec process"},
		{names: "process-label", text: &o.label, about: "SELinux label"},
		{names: "apparmor", text: &o.apparmor, about: "AppArmor profile"},
		{names: "no-new-privs", set: &o.noNewPrivs, about: "execve grants no privileges"},
		{names: "cap c", list: &o.caps, about: "add a capability"},
		{names: "preserve-fds", number: &o.preserve, about: "pass N descriptors, from 3 on, to the program"},
		{names: "cgroup", list: &o.subgroups, about: "run the process in an (existing) sub-cgroup(s). Format is [<controller>:]<cgroup>"},
		{names: "ignore-paused", set: &o.ignorePaused, about: "do not refuse a paused container"},
	}
	args, err := f.parse(c.args, false)
	if err != nil {
		return 0, err
	}
	if len(args) == 0 {
		return 0, &wrongUsage{"exec needs the id of a container and a command", f}
	}
	if len(args) == 1 && o.process == "" {
		return 0, fault.New(fault.Invalid, "exec failed: no command is given for the container %s", args[0])
	}
	signals := -1
	if !o.detach {
		if signals, err = forward.Catch(); err != nil {
			return 0, err
		}
	}
	p, err := c.exec(args[0], args[1:], &o)
	if err != nil {
		return 0, err
	}
	defer p.PidFD.Close()
	if o.detach {
		return 0, nil
	}
	var s *tty.Session
	if p.Console != nil && o.console == "" {
		if s, err = tty.Attach(p.Console); err != nil {
			return 0, err
		}
	}
	return forward.Follow(p.Pid, p.PidFD, signals, s), nil
}

// exec starts the process. The container is locked meanwhile, so that it is not
// deleted under our hands.
func (c *call) exec(id string, args []string, o *execOptions) (*runtime.Process, error) {
	k, err := c.records.Open(id)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	switch status := k.Status(); {
	case status == record.Stopped:
		return nil, fault.New(fault.Conflict, "cannot exec in container %s: it has stopped", id)
	case status == record.Paused && !o.ignorePaused:
		return nil, fault.New(fault.Conflict, "cannot exec in a paused container: resume %s, or use --ignore-paused", id)
	}
	process, err := o.build(k.Spec, args)
	if err != nil {
		return nil, err
	}
	if err := o.checkTerminal(process); err != nil {
		return nil, err
	}
	preserve, err := preserved(o.preserve)
	if err != nil {
		return nil, err
	}
	g, err := k.Group()
	if err != nil && k.Cgroup != "" {
		return nil, err
	}
	ct, err := runtime.Load(id, k.Pid, k.Spec, g)
	if err != nil {
		if g != nil {
			g.Close()
		}
		return nil, err
	}
	defer ct.Close()
	groups, err := subgroups(g, o.subgroups)
	if err != nil {
		return nil, err
	}
	if o.ignorePaused {
		// The process stops as it enters a frozen group, until a resume, which wants the lock.
		k.Close()
	}
	p, err := ct.Exec(&runtime.ExecSpec{
		Process: process, Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, Preserve: preserve,
		Groups: groups, KeepKeyring: k.KeepKeyring, State: k.State(record.Running), RawOutput: o.console == "",
	})
	for _, f := range groups {
		f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("exec failed: unable to start container process: %w", err)
	}
	if err := o.sendPidfd(p.PidFD); err != nil {
		return nil, err
	}
	if err := o.sendConsole(p.Console); err != nil {
		return nil, err
	}
	return p, writePid(o.pidFile, p.Pid)
}

// subgroups opens where a process joins the groups below the container's that --cgroup
// names, [controller[,controller]:]path. They must be there.
func subgroups(g *cgroup.Group, list []string) (files []*os.File, retErr error) {
	defer func() {
		if retErr != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	var paths map[string]string
	if g != nil {
		paths = g.Paths()
	}
	for _, s := range list {
		controllers, sub, some := strings.Cut(s, ":")
		if !some {
			controllers, sub = "", s
		}
		var dirs []string
		for controller, dir := range paths {
			if controller == "" && len(paths) > 1 {
				continue // beside the v1 hierarchies it has no controllers
			}
			if (!some || slices.Contains(strings.Split(controllers, ","), controller)) && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
		if len(dirs) == 0 {
			return files, fault.New(fault.Invalid, "--cgroup %s: unknown controller %s: the container has no group for it", s, controllers)
		}
		if !filepath.IsLocal(strings.TrimLeft(sub, "/")) && strings.Trim(sub, "/") != "" {
			return files, fault.New(fault.Invalid, "--cgroup %s: bad sub cgroup path: %s leads out of the container's groups", s, sub)
		}
		slices.Sort(dirs)
		for _, dir := range dirs {
			f, err := joinFile(dir, sub, dir == paths[""] && len(paths) == 1)
			if err != nil {
				var errno unix.Errno
				errors.As(err, &errno)
				return files, fault.New(fault.Invalid, "--cgroup %s: error adding pid of the process to %s: %w", s, filepath.Join(dir, sub, "cgroup.procs"), errno)
			}
			files = append(files, f)
		}
	}
	return files, nil
}

func joinFile(dir, sub string, v2 bool) (*os.File, error) {
	name := "tasks"
	if v2 {
		name = "cgroup.procs"
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(sub+"/"+name, unix.O_WRONLY, 0)
}

// build makes the process out of the container's own and the options.
func (o *execOptions) build(spec *specs.Spec, args []string) (*specs.Process, error) {
	p := new(specs.Process)
	if o.process != "" {
		if err := config.ReadJSON(o.process, p); err != nil {
			return nil, err
		}
		return p, speccheck.Process(p)
	}
	if spec.Process != nil {
		*p = *spec.Process
	}
	p.Args, p.Terminal, p.ConsoleSize = args, o.tty, nil
	p.Env = append(slices.Clone(p.Env), o.env...)
	if o.cwd != "" {
		p.Cwd = o.cwd
	}
	if o.label != "" {
		p.SelinuxLabel = o.label
	}
	if o.apparmor != "" {
		p.ApparmorProfile = o.apparmor
	}
	p.NoNewPrivileges = p.NoNewPrivileges || o.noNewPrivs
	if len(o.caps) > 0 {
		p.Capabilities = withCaps(p.Capabilities, o.caps)
	}
	if err := o.ids(&p.User); err != nil {
		return nil, err
	}
	return p, speccheck.Process(p)
}

// withCaps adds capabilities as runc does: not to inheritable (CVE-2022-29162), and to
// ambient those that are inheritable already.
func withCaps(have *specs.LinuxCapabilities, add []string) *specs.LinuxCapabilities {
	c := new(specs.LinuxCapabilities)
	if have != nil {
		*c = *have
	}
	for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Permitted} {
		*set = append(slices.Clone(*set), add...)
	}
	inherited := slices.DeleteFunc(slices.Clone(add), func(name string) bool { return !slices.Contains(c.Inheritable, name) })
	c.Ambient = append(slices.Clone(c.Ambient), inherited...)
	return c
}

func (o *execOptions) ids(u *specs.User) error {
	id := func(what, s string) (uint32, error) {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return 0, fault.New(fault.Invalid, "the %s %.40q is not a number between 0 and 4294967294", what, s)
		}
		return uint32(n), nil
	}
	var err error
	if o.user != "" {
		uid, gid, both := strings.Cut(o.user, ":")
		if u.UID, err = id("user", uid); err != nil {
			return err
		}
		if both {
			if u.GID, err = id("group", gid); err != nil {
				return err
			}
		}
	}
	groups := slices.Clone(u.AdditionalGids)
	for _, g := range o.groups {
		n, err := id("group", g)
		if err != nil {
			return err
		}
		groups = append(groups, n)
	}
	u.AdditionalGids = groups
	return nil
}
