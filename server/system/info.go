package system

import (
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"github.com/sampan-containers/sampan/server"
	"github.com/sampan-containers/sampan/server/compat"
)

// defaultIndexURL is the default registry, in the terms of the API.
const defaultIndexURL = "https://index.docker.io/v1/"

func (r *routes) info(c *server.Call) error {
	cfg := r.config.Load()
	m := readMachine(cfg.Root)
	info := system.Info{
		ID: cfg.ID, Driver: cfg.StorageDriver, DriverStatus: m.driverStatus(),
		Plugins: system.PluginsInfo{
			Volume: []string{"local"}, Network: cfg.NetworkDrivers, Log: cfg.LoggingDrivers,
		},
		MemoryLimit: m.cgroup.memory, SwapLimit: m.cgroup.swap, CPUCfsPeriod: m.cgroup.cfs, CPUCfsQuota: m.cgroup.cfs,
		CPUShares: m.cgroup.shares, CPUSet: m.cgroup.cpuset, PidsLimit: m.cgroup.pids, OomKillDisable: m.cgroup.oomDisable,
		CgroupDriver: cfg.CgroupDriver, CgroupVersion: m.cgroup.version,
		IPv4Forwarding: m.forwarding, Debug: cfg.Debug,
		NFd: openFiles(), NGoroutines: runtime.NumGoroutine(), NEventsListener: r.events.Subscribers(),
		SystemTime: time.Now().Format(time.RFC3339Nano), LoggingDriver: cfg.LoggingDriver,
		KernelVersion: m.kernel, OperatingSystem: m.osName, OSVersion: m.osVersion, OSType: runtime.GOOS, Architecture: m.arch,
		IndexServerAddress: defaultIndexURL, RegistryConfig: cfg.Registry,
		NCPU: runtime.NumCPU(), MemTotal: m.memory, DockerRootDir: cfg.Root, Name: m.name,
		HTTPProxy: masked(cfg.Proxy.HTTP), HTTPSProxy: masked(cfg.Proxy.HTTPS), NoProxy: cfg.Proxy.No,
		Labels: cfg.Labels, ExperimentalBuild: cfg.Experimental, ServerVersion: cfg.Version,
		Runtimes: map[string]system.RuntimeWithStatus{}, DefaultRuntime: cfg.DefaultRuntime,
		Swarm:              swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		LiveRestoreEnabled: cfg.LiveRestore, InitBinary: cfg.InitBinary,
		SecurityOptions: cfg.SecurityOptions, DefaultAddressPools: cfg.AddressPools,
		CDISpecDirs: append([]string{}, cfg.CDIDirs...), Warnings: append(m.warnings(), cfg.Warnings...),
	}
	if info.Labels == nil {
		info.Labels = []string{}
	}
	if cfg.Firewall != "" {
		info.FirewallBackend = &system.FirewallInfo{Driver: cfg.Firewall}
	}
	for name, rt := range cfg.Runtimes {
		info.Runtimes[name] = system.RuntimeWithStatus{Runtime: rt}
	}
	info.Containers, info.ContainersRunning, info.ContainersPaused, info.ContainersStopped = r.containers.Counts()
	info.Images = r.images.Count()
	return c.JSON(http.StatusOK, compat.Info(c.Version, &info, compat.LegacyInfo{
		KernelMemory: m.cgroup.kernelMemory, KernelMemoryTCP: m.cgroup.kernelMemoryTCP,
		BridgeNfIptables: m.bridgeNF, BridgeNfIp6tables: m.bridgeNF6,
	}))
}

// masked returns a proxy with any password masked.
func masked(value string) string {
	scheme, rest, ok := strings.Cut(value, "://")
	if at := strings.LastIndexByte(rest, '@'); ok && at >= 0 {
		return scheme + "://xxxxx:xxxxx" + rest[at:]
	}
	return value
}
