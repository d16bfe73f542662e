package ocispec

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// sysctlName is what a key may look like: no slash, no empty part, nothing that
// could leave /proc/sys or act in a shell or a helper (CVE-2022-0811).
var sysctlName = regexp.MustCompile(`^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)+$`)

// CheckSysctls refuses keys that are not the container's own: a sysctl that has
// no namespace changes the host.
func CheckSysctls(hc *container.HostConfig) error {
	for _, key := range slices.Sorted(maps.Keys(hc.Sysctls)) {
		if err := checkSysctl(key, hc.Sysctls[key], hc); err != nil {
			return err
		}
	}
	return nil
}

func checkSysctl(key, value string, hc *container.HostConfig) error {
	if !sysctlName.MatchString(strings.ReplaceAll(key, "/", ".")) {
		return fault.New(fault.Invalid, "invalid sysctl key %q: want a dotted name such as net.core.somaxconn", key)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }) {
		return fault.New(fault.Invalid, "invalid value of sysctl %s: control characters are not allowed", key)
	}
	k := strings.ReplaceAll(key, "/", ".")
	switch {
	case strings.HasPrefix(k, "net."):
		if hc.NetworkMode.IsHost() {
			return fault.New(fault.Invalid, "sysctl %q is not allowed with --network host: it would change the host", key)
		}
	case strings.HasPrefix(k, "fs.mqueue."), slices.Contains(ipcSysctls(), k):
		if hc.IpcMode.IsHost() {
			return fault.New(fault.Invalid, "sysctl %q is not allowed with --ipc host: it would change the host", key)
		}
	case k == "kernel.domainname":
		if hc.UTSMode.IsHost() {
			return fault.New(fault.Invalid, "sysctl %q is not allowed with --uts host: it would change the host", key)
		}
	case k == "kernel.hostname":
		return fault.New(fault.Invalid, "sysctl %q is not allowed: use --hostname", key)
	default:
		return fault.New(fault.Invalid, "sysctl %q is not allowed: it is not in a separate kernel namespace and would change the host", key)
	}
	return nil
}

func ipcSysctls() []string {
	return []string{"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
		"kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"}
}

// sysctls adds Docker's two: unprivileged ping and unprivileged low ports, which
// are harmless inside a network namespace of one's own.
func sysctls(hc *container.HostConfig, gids []specs.LinuxIDMapping) (map[string]string, error) {
	if err := CheckSysctls(hc); err != nil {
		return nil, err
	}
	out := map[string]string{}
	if !hc.NetworkMode.IsHost() && !hc.NetworkMode.IsContainer() {
		out["net.ipv4.ip_unprivileged_port_start"] = "0"
		out["net.ipv4.ping_group_range"] = "0 " + strconv.Itoa(lastGroup(gids))
	}
	maps.Copy(out, hc.Sysctls)
	return out, nil
}

// lastGroup is the last group that exists for a container.
func lastGroup(maps []specs.LinuxIDMapping) int {
	last := 0
	for _, m := range maps {
		last = max(last, int(m.ContainerID+m.Size)-1)
	}
	if last == 0 {
		return 1<<31 - 1
	}
	return last
}
