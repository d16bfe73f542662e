package request

import (
	"maps"
	"os/exec"
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"

	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/fault"
)

// Defaults are the daemon's settings that a request falls back on.
type Defaults struct {
	CgroupV2     bool               // the machine has the unified hierarchy only
	Systemd      bool               // systemd makes the control groups
	Runtime      string             // name of the runtime of containers that name none
	Runtimes     map[string]Runtime // the others that may be named, beside OwnRuntime
	Remap        *userns.Remap      // --userns-remap, or nil
	Own          *userns.Own        // of containers that ask for users of their own; nil looks anew each time
	LogDriver    string             // json-file or none
	LogOptions   map[string]string
	ShmSize      int64
	AlwaysInit   bool   // --init for everybody
	NoICC        bool   // containers on the default bridge do not reach each other
	InitPath     string // a program to use instead of the built-in one
	IpcMode      container.IpcMode
	CgroupnsMode container.CgroupnsMode
}

// OwnRuntime is the name of the runtime that needs no further program.
const OwnRuntime = "sampan"

// Runtime is the program of another OCI runtime.
type Runtime struct {
	Path string   `json:"path"`
	Args []string `json:"runtimeArgs,omitempty"` // before its commands
}

// Runtime finds a runtime by name; one without a path is our own.
func (d *Defaults) FindRuntime(name string) (Runtime, error) {
	if name == "" {
		name = d.Runtime
	}
	if name == OwnRuntime {
		return Runtime{}, nil
	}
	if r, ok := d.Runtimes[name]; ok {
		path, err := exec.LookPath(r.Path)
		if err != nil {
			return Runtime{}, fault.New(fault.Invalid, "runtime %s: its program is missing: %w (install it, or register another path)", name, err)
		}
		return Runtime{Path: path, Args: r.Args}, nil
	}
	known := append(slices.Sorted(maps.Keys(d.Runtimes)), OwnRuntime)
	return Runtime{}, fault.New(fault.Invalid, "unknown or invalid runtime name: %s (this daemon has %s; others are added with --add-runtime)", name, strings.Join(known, ", "))
}

// Complete fills in what the daemon's flags left out.
func (d *Defaults) Complete() {
	if d.Runtime == "" {
		d.Runtime = OwnRuntime
	}
	if d.ShmSize <= 0 {
		d.ShmSize = ocispec.DefaultShmSize
	}
	if d.LogDriver == "" {
		d.LogDriver = "json-file"
	}
	if d.IpcMode.IsEmpty() {
		d.IpcMode = container.IPCModePrivate
	}
	if d.CgroupnsMode.IsEmpty() {
		d.CgroupnsMode = container.CgroupnsModeHost
		if d.CgroupV2 {
			d.CgroupnsMode = container.CgroupnsModePrivate
		}
	}
}

// MergeImage fills c with what the image says and the request does not, by
// Docker's rules: a request's entrypoint drops the image's command.
func MergeImage(c *container.Config, img *dockerspec.DockerOCIImageConfig) error {
	if c.User == "" {
		c.User = img.User
	}
	for p := range img.ExposedPorts {
		port, err := mobynet.ParsePort(p)
		if err != nil {
			return fault.New(fault.Invalid, "image %s: exposed port %q: %v", c.Image, p, err)
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = mobynet.PortSet{}
		}
		c.ExposedPorts[port] = struct{}{}
	}
	c.Env = mergeEnv(img.Env, c.Env)
	labels := make(map[string]string, len(img.Labels)+len(c.Labels)) // {} and not null, as in Docker
	maps.Copy(labels, img.Labels)
	maps.Copy(labels, c.Labels)
	c.Labels = labels
	if len(c.Entrypoint) == 0 {
		if len(c.Cmd) == 0 {
			c.Cmd = slices.Clone(img.Cmd)
		}
		if c.Entrypoint == nil {
			c.Entrypoint = slices.Clone(img.Entrypoint)
		}
	}
	c.Healthcheck = health.Merge(c.Healthcheck, img.Healthcheck)
	if c.WorkingDir == "" {
		c.WorkingDir = img.WorkingDir
	}
	if len(c.Volumes) == 0 {
		c.Volumes = nil
	}
	for v := range img.Volumes {
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[v] = struct{}{}
	}
	if c.StopSignal == "" {
		c.StopSignal = img.StopSignal
	}
	return nil
}

// mergeEnv puts the image's variables before the request's, without those that
// the request sets as well.
func mergeEnv(image, own []string) []string {
	set := make(map[string]bool, len(own))
	for _, e := range own {
		name, _, _ := strings.Cut(e, "=")
		set[name] = true
	}
	out := slices.Clone(own)
	for _, e := range image {
		name, _, _ := strings.Cut(e, "=")
		if !set[name] {
			out = append(out, e)
		}
	}
	return out
}

// Command returns the program and its arguments.
func Command(c *container.Config) (string, []string, error) {
	// --entrypoint "" arrives as one empty word and means none.
	if len(c.Entrypoint) == 1 && c.Entrypoint[0] == "" {
		c.Entrypoint = nil
	}
	argv := slices.Concat(c.Entrypoint, c.Cmd)
	if len(argv) == 0 {
		return "", nil, fault.New(fault.Invalid, "no command specified")
	}
	args := argv[1:]
	if args == nil {
		args = []string{}
	}
	return argv[0], args, nil
}

// Normalize gives the host configuration the values that Docker shows for what
// the request left out.
func (d *Defaults) Normalize(hc *container.HostConfig) {
	if hc.NetworkMode == "" || hc.NetworkMode.IsDefault() {
		hc.NetworkMode = mobynet.NetworkBridge
	}
	if hc.IpcMode.IsEmpty() {
		hc.IpcMode = d.IpcMode
	}
	if hc.CgroupnsMode.IsEmpty() {
		hc.CgroupnsMode = d.CgroupnsMode
		if hc.Privileged && !d.CgroupV2 {
			hc.CgroupnsMode = container.CgroupnsModeHost // a privileged container sees the host's groups
		}
	}
	if hc.ShmSize == 0 {
		hc.ShmSize = d.ShmSize
	}
	if hc.LogConfig.Type == "" {
		hc.LogConfig.Type = d.LogDriver
	}
	own := hc.LogConfig.Config
	hc.LogConfig.Config = map[string]string{}
	if hc.LogConfig.Type == d.LogDriver { // another driver has other options
		maps.Copy(hc.LogConfig.Config, d.LogOptions)
	}
	maps.Copy(hc.LogConfig.Config, own)
	if hc.RestartPolicy.Name == "" {
		hc.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if hc.Runtime == "" {
		hc.Runtime = d.Runtime
	}
	if hc.MemorySwappiness != nil && *hc.MemorySwappiness == -1 {
		hc.MemorySwappiness = nil
	}
	if hc.Memory > 0 && hc.MemorySwap == 0 {
		hc.MemorySwap = 2 * hc.Memory
	}
	if hc.OomKillDisable == nil && !d.CgroupV2 {
		hc.OomKillDisable = new(bool)
	}
	if !slices.ContainsFunc(hc.SecurityOpt, func(o string) bool { return strings.HasPrefix(o, "label") }) && (hc.Privileged || hc.IpcMode.IsHost() || hc.PidMode.IsHost()) {
		hc.SecurityOpt = append(slices.Clone(hc.SecurityOpt), "label=disable") // recorded with and without SELinux
	}
	if hc.PortBindings == nil {
		hc.PortBindings = mobynet.PortMap{}
	}
	if hc.Init == nil && d.AlwaysInit {
		hc.Init = new(true)
	}
	if hc.Privileged {
		// Docker shows a privileged container without label confinement.
		hc.MaskedPaths, hc.ReadonlyPaths = nil, nil
	} else {
		if hc.MaskedPaths == nil {
			hc.MaskedPaths = ocispec.DefaultMaskedPaths()
		}
		if hc.ReadonlyPaths == nil {
			hc.ReadonlyPaths = ocispec.DefaultReadonlyPaths()
		}
	}
}
