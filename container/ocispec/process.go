package ocispec

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

func buildProcess(in *Input, sec Security) (*specs.Process, error) {
	caps, err := effectiveCaps(in.HostConfig.CapAdd, in.HostConfig.CapDrop, in.HostConfig.Privileged)
	if err != nil {
		return nil, err
	}
	limits, err := rlimits(in.Defaults.Ulimits, in.HostConfig.Ulimits)
	if err != nil {
		return nil, err
	}
	args := append([]string{in.Path}, in.Args...)
	if in.InitPath != "" {
		args = append([]string{initTarget, "--"}, args...)
	}
	p := &specs.Process{
		Terminal:        in.Config.Tty,
		User:            specUser(in.User, in.HostConfig.Umask),
		Args:            args,
		Env:             environment(in.Config.Env, in.Hostname, in.User.Home, in.Config.Tty),
		Cwd:             workDir(in.Config.WorkingDir),
		Capabilities:    capabilitySets(caps),
		Rlimits:         limits,
		NoNewPrivileges: noNewPrivileges(in.Defaults, sec),
		OOMScoreAdj:     &in.HostConfig.OomScoreAdj,
	}
	if h, w := in.HostConfig.ConsoleSize[0], in.HostConfig.ConsoleSize[1]; p.Terminal && h > 0 && w > 0 {
		p.ConsoleSize = &specs.Box{Height: h, Width: w}
	}
	return p, nil
}

// ExecInput is what an exec's process is made of.
type ExecInput struct {
	Request    *container.ExecCreateRequest
	User       User
	Hostname   string
	Config     *container.Config
	HostConfig *container.HostConfig
	Defaults   Defaults
}

// Exec makes the process of an exec: the container's environment and limits,
// the request's command, user, directory and terminal. Env entries of the
// request win.
func Exec(in ExecInput) (*specs.Process, error) {
	caps, err := effectiveCaps(in.HostConfig.CapAdd, in.HostConfig.CapDrop, in.HostConfig.Privileged || in.Request.Privileged)
	if err != nil {
		return nil, err
	}
	sec, err := ParseSecurityOpts(in.HostConfig.SecurityOpt)
	if err != nil {
		return nil, err
	}
	limits, err := rlimits(in.Defaults.Ulimits, in.HostConfig.Ulimits)
	if err != nil {
		return nil, err
	}
	cwd := in.Request.WorkingDir
	if cwd == "" {
		cwd = in.Config.WorkingDir
	}
	env := slices.Concat(in.Config.Env, in.Request.Env)
	p := &specs.Process{
		Terminal:        in.Request.Tty,
		User:            specUser(in.User, in.HostConfig.Umask),
		Args:            slices.Clone(in.Request.Cmd),
		Env:             environment(env, in.Hostname, in.User.Home, in.Request.Tty),
		Cwd:             workDir(cwd),
		Capabilities:    capabilitySets(caps),
		Rlimits:         limits,
		NoNewPrivileges: noNewPrivileges(in.Defaults, sec),
		OOMScoreAdj:     &in.HostConfig.OomScoreAdj,
	}
	if size := in.Request.ConsoleSize; p.Terminal && size != nil && size[0] > 0 && size[1] > 0 {
		p.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	return p, nil
}

func noNewPrivileges(d Defaults, sec Security) bool {
	if sec.NoNewPrivileges != nil {
		return *sec.NoNewPrivileges
	}
	return d.NoNewPrivileges
}

func specUser(u User, umask *uint32) specs.User {
	return specs.User{UID: u.UID, GID: u.GID, AdditionalGids: slices.Clone(u.Groups), Umask: umask}
}

// capabilitySets never fills the inheritable and ambient sets: they would give a
// program run by a user other than root capabilities its file does not have
// (CVE-2022-24769).
func capabilitySets(caps []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
}

func workDir(dir string) string {
	if dir == "" {
		return "/"
	}
	return cleanTarget(dir)
}

// environment puts Docker's defaults below the container's own values. An entry
// without "=" removes the variable; of several entries for one name the last wins.
func environment(own []string, hostname, home string, tty bool) []string {
	env := []string{"PATH=" + DefaultPath, "HOSTNAME=" + hostname}
	if tty {
		env = append(env, "TERM=xterm")
	}
	index := make(map[string]int, len(own)+len(env))
	for i, e := range env {
		index[e[:strings.IndexByte(e, '=')]] = i
	}
	for _, e := range own {
		name, _, hasValue := strings.Cut(e, "=")
		i, known := index[name]
		switch {
		case !hasValue && known:
			env[i] = ""
			delete(index, name)
		case !hasValue:
		case known:
			env[i] = e
		default:
			index[name] = len(env)
			env = append(env, e)
		}
	}
	if i, set := index["HOME"]; !set {
		env = append(env, "HOME="+home)
	} else if env[i] == "HOME=" { // as good as none to runc
		env[i] += home
	}
	return slices.DeleteFunc(env, func(e string) bool { return e == "" })
}

// rlimits merges the daemon's default limits with the container's own. Core
// dumps are off by default (soft limit 0) but a program may raise it.
func rlimits(defaults, own []*container.Ulimit) ([]specs.POSIXRlimit, error) {
	merged := map[string]specs.POSIXRlimit{}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err == nil {
		merged["RLIMIT_CORE"] = specs.POSIXRlimit{Type: "RLIMIT_CORE", Soft: 0, Hard: core.Max}
	}
	for _, u := range slices.Concat(defaults, own) {
		if err := CheckUlimit(u); err != nil {
			return nil, err
		}
		t := "RLIMIT_" + strings.ToUpper(u.Name)
		merged[t] = specs.POSIXRlimit{Type: t, Soft: uint64(u.Soft), Hard: uint64(u.Hard)}
	}
	out := make([]specs.POSIXRlimit, 0, len(merged))
	for _, l := range merged {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b specs.POSIXRlimit) int { return strings.Compare(a.Type, b.Type) })
	return out, nil
}

// CheckUlimit refuses unknown names and a soft limit above the hard one.
func CheckUlimit(u *container.Ulimit) error {
	if u == nil || !slices.Contains(ulimitNames(), strings.ToLower(u.Name)) {
		name := ""
		if u != nil {
			name = u.Name
		}
		return fault.New(fault.Invalid, "invalid ulimit type: %s", name)
	}
	if u.Hard != -1 && (u.Soft == -1 || u.Soft > u.Hard) {
		return fault.New(fault.Invalid, "ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
	}
	return nil
}

func ulimitNames() []string {
	return []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
		"nproc", "rss", "rtprio", "rttime", "sigpending", "stack", "as"}
}
