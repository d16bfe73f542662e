package spec

import (
	"errors"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"
)

// namespaces: which ones are shared, and who runs the container.
type namespaces struct {
	pid, ipc, uts, userns, cgroupns string
	runtime                         string
}

func (n *namespaces) register(fs *pflag.FlagSet) {
	fs.StringVar(&n.pid, "pid", "", "PID namespace (host, container:NAME)")
	fs.StringVar(&n.ipc, "ipc", "", "IPC namespace (none, private, shareable, host, container:NAME)")
	fs.StringVar(&n.uts, "uts", "", "UTS namespace (host)")
	fs.StringVar(&n.userns, "userns", "", "User namespace (host, remap)")
	fs.StringVar(&n.cgroupns, "cgroupns", "", "Cgroup namespace (host, private)")
	fs.StringVar(&n.runtime, "runtime", "", "OCI runtime for this container")
}

func (n *namespaces) apply(r *Request, _ func(string) bool) error {
	h := r.Host
	h.PidMode, h.IpcMode, h.UTSMode = container.PidMode(n.pid), container.IpcMode(n.ipc), container.UTSMode(n.uts)
	h.UsernsMode, h.CgroupnsMode, h.Runtime = container.UsernsMode(n.userns), container.CgroupnsMode(n.cgroupns), n.runtime
	switch {
	case !h.PidMode.Valid():
		return errors.New("--pid: invalid PID mode")
	case !h.UTSMode.Valid():
		return errors.New("--uts: invalid UTS mode")
	case !h.UsernsMode.Valid() && n.userns != "remap":
		return errors.New("--userns: invalid USER mode")
	case !h.CgroupnsMode.Valid():
		return errors.New("--cgroupns: invalid CGROUP mode")
	}
	return nil
}
