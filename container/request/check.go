// Package request judges and completes a create request: what Docker refuses is
// refused with its words, what Sampan cannot do yet is refused by name, the
// image's configuration is merged in, and defaults are filled in as Docker shows
// them. It looks at nothing but the request, the daemon's defaults and, for a few
// checks, the machine.
package request

import (
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/health"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/systemd"
	"github.com/sampan-containers/sampan/volume"
)

// maxHostname is the kernel's limit (HOST_NAME_MAX).
const maxHostname = 64

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

func notYet(format string, args ...any) error {
	return fault.New(fault.NotImplemented, format, args...)
}

// CheckConfig refuses what can never run. It sees the merged configuration.
func CheckConfig(c *container.Config) error {
	if c.WorkingDir != "" {
		c.WorkingDir = path.Clean(c.WorkingDir)
		if !path.IsAbs(c.WorkingDir) {
			return invalid("the working directory '%s' is invalid, it needs to be an absolute path", c.WorkingDir)
		}
	}
	for _, e := range c.Env {
		if e == "" || e[0] == '=' {
			return invalid("invalid environment variable: %s", e)
		}
	}
	if err := CheckText("environment variable", c.Env...); err != nil {
		return err
	}
	if err := CheckText("command", append(slices.Clone(c.Cmd), c.Entrypoint...)...); err != nil {
		return err
	}
	if err := CheckText("working directory", c.WorkingDir); err != nil {
		return err
	}
	if len(c.Hostname) > maxHostname || strings.ContainsAny(c.Hostname, "\x00\n\r /") {
		return invalid("invalid hostname %q: at most %d characters, without blanks and slashes", c.Hostname, maxHostname)
	}
	if len(c.Domainname) > maxHostname || strings.ContainsAny(c.Domainname, "\x00\n\r /") {
		return invalid("invalid domain name %q: at most %d characters, without blanks and slashes", c.Domainname, maxHostname)
	}
	if c.StopSignal != "" {
		if _, err := ParseSignal(c.StopSignal); err != nil {
			return err
		}
	}
	if err := health.Check(c.Healthcheck); err != nil {
		return err
	}
	return nil
}

// CheckText refuses NUL bytes, which would cut a string short in the kernel.
func CheckText(what string, texts ...string) error {
	for _, t := range texts {
		if strings.IndexByte(t, 0) >= 0 {
			return invalid("invalid %s %q: a NUL byte is not allowed", what, t)
		}
	}
	return nil
}

// Check refuses what the host configuration cannot mean, and by name what
// Sampan cannot do yet. It sees the request before the defaults are filled in.
func (d *Defaults) Check(c *container.Config, hc *container.HostConfig) error {
	checks := []func(*container.Config, *container.HostConfig) error{
		checkModes, d.checkUserns, checkNetwork, d.checkLinks, checkPorts, checkSecurity, d.checkLimits, checkRestart, d.checkLog, d.checkMissing,
	}
	for _, check := range checks {
		if err := check(c, hc); err != nil {
			return err
		}
	}
	return nil
}

func checkModes(c *container.Config, hc *container.HostConfig) error {
	switch {
	case !hc.IpcMode.Valid():
		return invalid("invalid IPC mode: %s", hc.IpcMode)
	case !hc.PidMode.Valid():
		return invalid("invalid PID mode: %s", hc.PidMode)
	case !hc.UTSMode.Valid():
		return invalid("invalid UTS mode: %s", hc.UTSMode)
	case !hc.UsernsMode.Valid() && hc.UsernsMode != userns.ModeRemap:
		return invalid("invalid user namespace mode: %s", hc.UsernsMode)
	case !hc.CgroupnsMode.Valid():
		return invalid("invalid cgroup namespace mode: %s", hc.CgroupnsMode)
	case hasKey(hc.Annotations, ""):
		return invalid("invalid Annotations: the empty string is not permitted as an annotation key")
	case hc.Cgroup != "":
		return notYet("--cgroup is not available")
	case hc.UTSMode.IsHost() && c.Hostname != "":
		return invalid("conflicting options: hostname and the UTS mode")
	case hc.NetworkMode.IsContainer() && c.Hostname != "":
		return invalid("conflicting options: hostname and the network mode")
	}
	return nil
}

func hasKey(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}

func (d *Defaults) checkUserns(_ *container.Config, hc *container.HostConfig) error {
	remap, err := d.Own.Of(hc, d.Remap)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if remap != nil && d.Remap == nil { // the daemon has not looked yet
		if err := userns.CheckKernel(); err != nil {
			return err
		}
	}
	return remap.Check(hc)
}

// checkLinks: the ports of a bridge without communication are isolated from each other
// where no rule can except one.
func (d *Defaults) checkLinks(_ *container.Config, hc *container.HostConfig) error {
	if d.NoICC && len(hc.Links) > 0 && !hc.NetworkMode.IsUserDefined() {
		return notYet("--link is not available while the daemon runs with --icc=false; put the containers on a network of their own, where they find each other by name")
	}
	return nil
}

func checkNetwork(c *container.Config, hc *container.HostConfig) error {
	if c.NetworkDisabled { // what clients said before there were modes
		hc.NetworkMode = "none"
	}
	if hc.NetworkMode == "container" {
		return invalid("Invalid network mode: invalid container format container:<name|id>")
	}
	if hc.NetworkMode.IsContainer() {
		switch {
		case hc.NetworkMode.ConnectedContainer() == "":
			return invalid("Invalid network mode: invalid container format container:<name|id>: no name or id after container:")
		case len(hc.Links) > 0:
			return invalid("conflicting options: container type network can't be used with links. This would result in undefined behavior")
		case len(hc.DNS) > 0:
			return invalid("conflicting options: dns and the network mode")
		case len(hc.ExtraHosts) > 0:
			return invalid("conflicting options: custom host-to-IP mapping and the network mode")
		case len(hc.PortBindings) > 0 || hc.PublishAllPorts:
			return invalid("conflicting options: port publishing and the container type network mode")
		case len(c.ExposedPorts) > 0:
			return invalid("conflicting options: port exposing and the container type network mode")
		}
	}
	if len(hc.Links) > 0 && hc.NetworkMode.IsHost() {
		return invalid("conflicting options: host type networking can't be used with links. This would result in undefined behavior")
	}
	for _, h := range hc.ExtraHosts {
		name, addr, ok := strings.Cut(h, ":")
		if !ok {
			name, addr, ok = strings.Cut(h, "=")
		}
		if !ok || name == "" || addr == "" {
			return invalid("bad format for add-host: %q", h)
		}
		if err := checkLine("host name", h); err != nil {
			return err
		}
	}
	for _, o := range slices.Concat(hc.DNSSearch, hc.DNSOptions) {
		if err := checkLine("DNS option", o); err != nil {
			return err
		}
	}
	return nil
}

// checkLine refuses what would add lines to a file such as /etc/hosts.
func checkLine(what, text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return invalid("invalid %s %q: control characters are not allowed", what, text)
	}
	return nil
}

func checkPorts(c *container.Config, hc *container.HostConfig) error {
	for port, bindings := range hc.PortBindings {
		if !port.IsValid() || port.Num() == 0 {
			return invalid("invalid port specification: %q", port.String())
		}
		for _, b := range bindings {
			if _, _, err := HostPorts(b.HostPort); err != nil {
				return err
			}
		}
	}
	return nil
}

// HostPorts reads "", "8080" or "8000-9000".
func HostPorts(text string) (first, last uint16, err error) {
	if text == "" {
		return 0, 0, nil
	}
	low, high, ranged := strings.Cut(text, "-")
	l, err := strconv.ParseUint(low, 10, 16)
	h := l
	if err == nil && ranged {
		h, err = strconv.ParseUint(high, 10, 16)
	}
	if err != nil || h < l {
		return 0, 0, invalid("invalid port specification: %q", text)
	}
	return uint16(l), uint16(h), nil
}

func checkSecurity(_ *container.Config, hc *container.HostConfig) error {
	if _, err := ocispec.NormalizeCaps("CapAdd", hc.CapAdd); err != nil {
		return err
	}
	if _, err := ocispec.NormalizeCaps("CapDrop", hc.CapDrop); err != nil {
		return err
	}
	sec, err := ocispec.ParseSecurityOpts(hc.SecurityOpt)
	if err != nil {
		return err
	}
	if err := ocispec.CheckSeccomp(sec.Seccomp); err != nil {
		return err
	}
	return ocispec.CheckSysctls(hc)
}

func (d *Defaults) checkLimits(_ *container.Config, hc *container.HostConfig) error {
	if err := ocispec.CheckResources(&hc.Resources, runtime.NumCPU()); err != nil {
		return err
	}
	for _, set := range []struct{ what, list, online string }{
		{"CPUs", hc.CpusetCpus, "/sys/devices/system/cpu/online"}, {"memory nodes", hc.CpusetMems, "/sys/devices/system/node/online"},
	} {
		if set.list == "" {
			continue
		}
		// A kernel without NUMA has no list of nodes; it refuses by itself.
		online, _ := os.ReadFile(set.online)
		if err := ocispec.CheckAvailable(set.what, set.list, strings.TrimSpace(string(online))); err != nil {
			return err
		}
	}
	if err := ocispec.CheckOOMScoreAdj(hc.OomScoreAdj); err != nil {
		return err
	}
	for _, u := range hc.Ulimits {
		if err := ocispec.CheckUlimit(u); err != nil {
			return err
		}
	}
	for _, r := range hc.DeviceCgroupRules {
		if _, err := ocispec.ParseDeviceRule(r); err != nil {
			return err
		}
	}
	if hc.ShmSize < 0 {
		return invalid("SHM size can not be less than 0")
	}
	if d.Systemd {
		if err := systemd.CheckSlice(hc.CgroupParent); err != nil {
			return invalid("cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\": %v", err)
		}
	} else if p := hc.CgroupParent; p != "" && (path.Clean("/"+p) != "/"+strings.Trim(p, "/") || strings.ContainsAny(p, "\x00\n")) {
		return invalid("invalid cgroup parent %q: want a path such as /web, without . and ..", p)
	}
	if hc.CPURealtimePeriod < 0 || hc.CPURealtimePeriod != 0 && hc.CPURealtimeRuntime > hc.CPURealtimePeriod {
		return invalid("cpu real-time runtime of %d µs cannot be higher than the cpu real-time period of %d µs", hc.CPURealtimeRuntime, hc.CPURealtimePeriod)
	}
	if d.CgroupV2 && (hc.CPURealtimePeriod != 0 || hc.CPURealtimeRuntime != 0) {
		return invalid("--cpu-rt-period and --cpu-rt-runtime do not exist on cgroup v2: the kernel has no real-time limits per group there")
	}
	return nil
}

func checkRestart(_ *container.Config, hc *container.HostConfig) error {
	if err := container.ValidateRestartPolicy(hc.RestartPolicy); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if hc.AutoRemove && !hc.RestartPolicy.IsNone() {
		return invalid("can't create 'AutoRemove' container with restart policy")
	}
	return nil
}

// checkMissing refuses by name what works in Docker and not here yet.
func (d *Defaults) checkMissing(c *container.Config, hc *container.HostConfig) error {
	if _, err := d.FindRuntime(hc.Runtime); err != nil {
		return err
	}
	if err := checkStorageOptions(hc.StorageOpt); err != nil {
		return err
	}
	switch {
	case hc.VolumeDriver != "" && hc.VolumeDriver != volume.LocalDriver:
		return notYet("error looking up volume plugin %[1]s: plugin \"%[1]s\" not found (volume plugins are not available yet: use local)", hc.VolumeDriver)
	case !hc.Isolation.IsDefault():
		return invalid("invalid isolation '%s': it exists on Windows only", hc.Isolation)
	}
	return nil
}
