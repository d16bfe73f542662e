package cli

import (
	"errors"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/forward"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/privs"
	"github.com/sampan-containers/sampan/runtime/rootless"
)

// enteredFlag is a global option with which this program calls itself in the user
// namespace that it has made. The container's own namespaces then are those of the
// specification without that one.
const enteredFlag = "--in-user-namespace"

// withoutRoot carries out create or run for a caller who is not root: the same command
// once more, as root of the container's user namespace. done is false for root.
func (c *call) withoutRoot(dir string, hold bool) (code int, done bool, err error) {
	if os.Geteuid() == 0 {
		return 0, false, nil
	}
	_, spec, _, err := config.Load(dir, hold)
	if err != nil {
		return 0, true, err
	}
	args := append([]string{c.Args[0], enteredFlag}, c.Args[1:]...)
	// A key of the terminal reaches that process too, and it passes it on.
	signals, err := forward.CatchSent()
	if err != nil {
		return 0, true, err
	}
	p, err := rootless.Enter(spec, args)
	if err != nil {
		return 0, true, err
	}
	defer p.PidFD.Close()
	return forward.Follow(p.Pid, p.PidFD, signals, nil), true, nil
}

// setRootless decides what --rootless means.
func (c *call) setRootless(option string) error {
	switch option {
	case "", "auto":
		c.rootless = c.entered || os.Geteuid() != 0
	case "true":
		c.rootless = true
	case "false":
		c.rootful = true
	default:
		return fault.New(fault.Invalid, "--rootless %q is not true, false or auto", option)
	}
	return nil
}

// stateRoot is where records lie unless --root says otherwise: without root's rights, and
// for root of a user namespace that is somebody else's, in the user's runtime directory.
func (c *call) stateRoot() error {
	euid := os.Geteuid()
	if euid == 0 && (os.Getenv("XDG_RUNTIME_DIR") == "" || os.Getenv("USER") == "root" && !c.entered || privs.InitialUserNS()) {
		c.records.Root = record.DefaultRoot
		return nil
	}
	dir := rootless.RuntimeDir()
	if dir == "" {
		if euid == 0 {
			c.records.Root = record.DefaultRoot
			return nil
		}
		return fault.New(fault.Invalid, "there is no directory for the records of containers: XDG_RUNTIME_DIR is not set, and /run/user/%d is not there; set it, or give --root", euid)
	}
	c.records = record.Store{Root: filepath.Join(dir, filepath.Base(record.DefaultRoot)), Sticky: true}
	return nil
}

// ownGroup makes the container's control group, without systemd. A user who is not root, and root of a
// user namespace, do without one where they may not make it, unless the specification
// names it. path is empty then.
func (c *call) ownGroup(id string, spec *specs.Spec) (g *cgroup.Group, path string, err error) {
	var res *specs.LinuxResources
	if spec.Linux != nil {
		res = spec.Linux.Resources
	}
	o := cgroup.Options{Warn: c.log.warn, Rootless: c.rootless}
	path = c.groupPath(id, spec)
	own := spec.Linux != nil && spec.Linux.CgroupsPath != ""
	o.Tolerate = c.rootless && !own
	g, err = cgroup.Create(path, res, o)
	denied := errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
	if denied && !c.rootless && !c.rootful && !privs.InitialUserNS() {
		o.Rootless, o.Tolerate = true, !own
		g, err = cgroup.Create(path, res, o)
	}
	if err == nil && g.Empty() {
		path = ""
	}
	return g, path, err
}

// groupPath: without linux.cgroupsPath the group lies at the top. A parent of its own
// would have to be made and removed in each hierarchy, for each container. A user's lies
// where his processes are.
func (c *call) groupPath(id string, spec *specs.Spec) string {
	switch {
	case spec.Linux != nil && spec.Linux.CgroupsPath != "":
		return spec.Linux.CgroupsPath
	case c.rootless:
		return "sampan-" + id
	}
	return "/sampan-" + id
}
