package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/userns"
	"github.com/sampan-containers/sampan/network"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/network/settings"
	"github.com/sampan-containers/sampan/runtime/systemd"
	"github.com/sampan-containers/sampan/snapshot"
)

// check refuses values that cannot be meant, with the flag's name.
func (c *config) check() error {
	if _, err := c.level(); err != nil {
		return err
	}
	switch {
	case c.logFormat != "text" && c.logFormat != "json":
		return fmt.Errorf("--log-format %s: want text or json", c.logFormat)
	case snapshot.Check(c.storageDriver) != nil:
		return fmt.Errorf("--storage-driver: %w", snapshot.Check(c.storageDriver))
	case c.iptables && !c.ip6tables:
		return fmt.Errorf("--ip6tables=false: rules for IPv4 alone are not available (--iptables=false leaves out those of both families)")
	case c.firewallMode != "nat" && c.firewallMode != "host":
		return fmt.Errorf("--firewall %s: want nat or host", c.firewallMode)
	case c.firewall != "nftables":
		return fmt.Errorf("--firewall-backend %s: only nftables is available", c.firewall)
	case c.ipcMode != "private" && c.ipcMode != "shareable":
		return fmt.Errorf("--default-ipc-mode %s: want private or shareable", c.ipcMode)
	case !container.CgroupnsMode(c.cgroupns).Valid():
		return fmt.Errorf("--default-cgroupns-mode %s: want host or private", c.cgroupns)
	case c.shutdownTimeout < -1:
		return fmt.Errorf("--shutdown-timeout %d: want a number of seconds, or -1 for no limit", c.shutdownTimeout)
	case c.bridge != "" && c.bridge != network.NoBridge && c.bip != "":
		return fmt.Errorf("--bridge and --bip are mutually exclusive; set the address on the bridge itself")
	case c.mtu < 0:
		return fmt.Errorf("--mtu %d: must not be negative", c.mtu)
	}
	if err := c.registry.check(); err != nil {
		return err
	}
	if err := c.checkCgroups(); err != nil {
		return err
	}
	for _, l := range c.labels {
		if key, _, ok := strings.Cut(l, "="); !ok || key == "" {
			return fmt.Errorf("--label %s: want key=value", l)
		}
	}
	if err := c.checkFeatures(); err != nil {
		return err
	}
	if err := c.checkUserns(); err != nil {
		return err
	}
	if err := c.checkRuntimes(); err != nil {
		return err
	}
	if err := request.CheckLogOptions(c.logDriver, c.logOpts); err != nil {
		return err
	}
	for _, u := range c.ulimits {
		if err := ocispec.CheckUlimit(u); err != nil {
			return err
		}
	}
	_, err := c.network(nil)
	return err
}

// The drivers of --exec-opt native.cgroupdriver.
const (
	driverFiles   = "cgroupfs"
	driverSystemd = "systemd"
)

// cgroupDriver is what --exec-opt says.
func (c *config) cgroupDriver() string {
	driver := driverFiles
	for _, o := range c.execOpts {
		if name, ok := strings.CutPrefix(o, "native.cgroupdriver="); ok {
			driver = name
		}
	}
	return driver
}

func (c *config) checkCgroups() error {
	for _, o := range c.execOpts {
		if !strings.HasPrefix(o, "native.cgroupdriver=") {
			return fmt.Errorf("--exec-opt %s: only native.cgroupdriver=cgroupfs and native.cgroupdriver=systemd are known", o)
		}
	}
	switch driver, p := c.cgroupDriver(), c.cgroupParent; {
	case driver != driverFiles && driver != driverSystemd:
		return fmt.Errorf("--exec-opt native.cgroupdriver=%s: want cgroupfs or systemd", driver)
	case driver == driverSystemd && !systemd.Running():
		return fmt.Errorf("--exec-opt native.cgroupdriver=systemd: systemd is not the init system of this machine; use cgroupfs")
	case driver == driverSystemd && systemd.CheckSlice(p) != nil:
		return fmt.Errorf("--cgroup-parent %s: cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"", p)
	case driver == driverFiles && p != "" && filepath.Clean("/"+p) != "/"+strings.Trim(p, "/"):
		return fmt.Errorf("--cgroup-parent %s: want a path without . and .. such as /containers", p)
	}
	return nil
}

// checkFeatures reads --feature.
func (c *config) checkFeatures() (err error) {
	c.features, err = readFeatures(c.featureTexts)
	if c.features.off(featureCDI) {
		c.cdiDirs = nil
	}
	c.cdiDirs = slices.DeleteFunc(c.cdiDirs, func(dir string) bool { return dir == "" }) // "" is no directory: CDI is off
	return err
}

// checkUserns reads the maps of --userns-remap.
func (c *config) checkUserns() error {
	if c.usernsRemap == "" {
		return nil
	}
	var err error
	if c.remap, err = userns.Parse(c.usernsRemap); err == nil {
		err = userns.CheckKernel()
	}
	if err != nil {
		return fmt.Errorf("--userns-remap: %w", err)
	}
	return nil
}

// level is the lowest level that is logged.
func (c *config) level() (slog.Level, error) {
	if c.debug {
		return slog.LevelDebug, nil
	}
	switch c.logLevel {
	case "trace", "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "fatal", "panic":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("--log-level %s: want debug, info, warn, error or fatal", c.logLevel)
}

// network is the network service's configuration.
func (c *config) network(log *slog.Logger) (network.Config, error) {
	n := network.DefaultConfig()
	n.Bridge, n.BIP, n.FixedCIDR, n.MTU = c.bridge, c.bip, c.fixedCIDR, c.mtu
	n.FixedCIDR6, n.IPv6, n.SplicePorts, n.NoRules = c.fixedCIDR6, c.ipv6, c.firewallMode == "host", !c.iptables
	if c.defaultGateway6 != "" {
		a, err := netip.ParseAddr(c.defaultGateway6)
		if err != nil {
			return n, fmt.Errorf("--default-gateway-v6 %s: %w", c.defaultGateway6, err)
		}
		n.DefaultGateway6 = a
	}
	n.ICC, n.IPMasq, n.IPForward = c.icc, c.ipMasq, c.ipForward
	n.DNS, n.DNSSearch, n.DNSOptions, n.Log = c.dns, c.dnsSearch, c.dnsOpts, log
	if c.defaultGateway != "" {
		a, err := netip.ParseAddr(c.defaultGateway)
		if err != nil {
			return n, fmt.Errorf("--default-gateway %s: %w", c.defaultGateway, err)
		}
		n.DefaultGateway = a
	}
	if a, ok := netip.AddrFromSlice(c.ip); ok {
		n.DefaultBindIP = a.Unmap()
	}
	for _, text := range c.hostGatewayIPs {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return n, fmt.Errorf("--host-gateway-ip %s: %w", text, err)
		}
		n.HostGatewayIPs = append(n.HostGatewayIPs, a)
	}
	for _, text := range c.dns {
		if _, err := netip.ParseAddr(text); err != nil {
			return n, fmt.Errorf("--dns %s: want an IP address", text)
		}
	}
	for _, text := range c.addressPools {
		pool, err := addressPool(text)
		if err != nil {
			return n, fmt.Errorf("--default-address-pool %s: %w", text, err)
		}
		n.DefaultPools = append(n.DefaultPools, pool)
	}
	var err error
	n.DefaultOptions, err = networkOptions(c.networkOpts)
	return n, err
}

// networkOptions reads the default options of networks: DRIVER=OPTION=VALUE on the
// command line, DRIVER={"OPTION":"VALUE",…} from the file.
func networkOptions(texts []string) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	for _, text := range texts {
		driver, rest, _ := strings.Cut(text, "=")
		if driver != settings.Bridge && driver != settings.Macvlan && driver != settings.IPvlan {
			return nil, fmt.Errorf("--default-network-opt %s: networks of the driver %q have no options (want bridge=OPTION=VALUE, macvlan=… or ipvlan=…)", text, driver)
		}
		options := map[string]string{}
		if strings.HasPrefix(rest, "{") {
			if err := json.Unmarshal([]byte(rest), &options); err != nil {
				return nil, fmt.Errorf("--default-network-opt %s: %w", driver, err)
			}
		} else if key, value, ok := strings.Cut(rest, "="); ok && key != "" {
			options[key] = value
		} else {
			return nil, fmt.Errorf("--default-network-opt %s: want DRIVER=OPTION=VALUE", text)
		}
		if all[driver] == nil {
			all[driver] = map[string]string{}
		}
		maps.Copy(all[driver], options)
	}
	return all, nil
}

func addressPool(text string) (ipam.Range, error) {
	var r ipam.Range
	for _, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		var err error
		switch key {
		case "base":
			r.Base, err = netip.ParsePrefix(value)
		case "size":
			r.Size, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return r, err
		}
	}
	if !r.Base.IsValid() || r.Size < r.Base.Bits() {
		return r, fmt.Errorf("want base=ADDRESS/BITS,size=BITS with a size of at least the base's bits")
	}
	return r, nil
}

// seccomp reads the profile of --seccomp-profile.
func (c *config) seccomp() (string, error) {
	switch c.seccompProfile {
	case "", "builtin":
		return "", nil
	case ocispec.SeccompUnconfined:
		return ocispec.SeccompUnconfined, nil
	}
	raw, err := os.ReadFile(c.seccompProfile)
	if err != nil {
		return "", fmt.Errorf("--seccomp-profile: %w", err)
	}
	if err := ocispec.CheckSeccomp(string(raw)); err != nil {
		return "", fmt.Errorf("--seccomp-profile %s: %w", c.seccompProfile, err)
	}
	return string(raw), nil
}
