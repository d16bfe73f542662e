package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/pflag"

	"github.com/sampan-containers/sampan/container/cdi"
	"github.com/sampan-containers/sampan/container/ocispec"
	"github.com/sampan-containers/sampan/container/request"
	"github.com/sampan-containers/sampan/container/userns"
)

// The defaults of a daemon without flags.
const (
	defaultDataRoot = "/var/lib/sampan"
	defaultExecRoot = "/run/sampan"
	defaultConfig   = "/etc/sampan/daemon.json"
	runtimeName     = request.OwnRuntime
	defaultShutdown = 15 // seconds
)

// config is the daemon's configuration: flags over the configuration file over
// defaults.
type config struct {
	version, validate, debug bool

	dataRoot, execRoot, configFile, pidFile string
	hosts                                   []string
	group                                   string
	allowPlainTCP                           bool
	tls, tlsVerify                          bool
	tlsCA, tlsCert, tlsKey                  string

	logLevel, logFormat string
	logDriver           string
	logOpts             map[string]string

	bridge, bip, fixedCIDR, defaultGateway string
	fixedCIDR6, defaultGateway6            string
	ip6tables                              bool
	firewallMode                           string
	mtu                                    int
	icc, ipForward, ipMasq, iptables, ipv6 bool
	userlandProxy                          bool
	ip                                     net.IP
	cdiDirs                                []string
	dns, dnsSearch, dnsOpts                []string
	hostGatewayIPs                         []string
	addressPools                           []string
	firewall                               string

	liveRestore       bool
	experimental      bool
	shutdownTimeout   int
	storageDriver     string
	defaultRuntime    string
	runtimes          runtimes
	usernsRemap       string
	remap             *userns.Remap
	runtimeBinary     string
	boxBinary         string
	init              bool
	initPath          string
	noNewPrivileges   bool
	ulimits           ulimits
	shmSize           bytes
	pidsLimit         int64
	networkOpts       []string
	seccompProfile    string
	cgroupParent      string
	ipcMode, cgroupns string
	execOpts          []string
	labels            []string

	featureTexts []string
	features     features

	registry registryOptions

	values map[string]string // of all flags, as they were given here and there
}

// define makes the flags of the options that work.
func (c *config) define(f *pflag.FlagSet) {
	f.BoolVarP(&c.version, "version", "v", false, "Print version information and quit")
	f.BoolVar(&c.validate, "validate", false, "Validate daemon configuration and exit")
	f.BoolVarP(&c.debug, "debug", "D", false, "Enable debug mode")
	f.StringVar(&c.dataRoot, "data-root", defaultDataRoot, "Root directory of persistent state")
	f.StringVar(&c.execRoot, "exec-root", defaultExecRoot, "Root directory for execution state files (on tmpfs)")
	f.StringVar(&c.configFile, "config-file", defaultConfig, "Daemon configuration file")
	f.StringVarP(&c.pidFile, "pidfile", "p", "", "Path to use for daemon PID file (default: sampan.pid in the exec root)")
	f.StringArrayVarP(&c.hosts, "host", "H", nil, "Daemon socket(s) to listen on (default: sampan.sock in the exec root)")
	f.StringVarP(&c.group, "group", "G", "", "Group that may use the UNIX socket; its members are as powerful as root")
	f.BoolVar(&c.allowPlainTCP, "allow-plain-tcp", false, "Permit TCP sockets without client certificates; whoever reaches one is root here")
	f.BoolVar(&c.tls, "tls", false, "Use TLS; implied by --tlsverify")
	f.BoolVar(&c.tlsVerify, "tlsverify", false, "Use TLS and verify the remote")
	f.StringVar(&c.tlsCA, "tlscacert", "", "Trust certs signed only by this CA")
	f.StringVar(&c.tlsCert, "tlscert", "", "Path to TLS certificate file")
	f.StringVar(&c.tlsKey, "tlskey", "", "Path to TLS key file")
	f.StringVarP(&c.logLevel, "log-level", "l", "info", `Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")`)
	f.StringVar(&c.logFormat, "log-format", "text", `Set the logging format ("text"|"json")`)
	f.StringVar(&c.logDriver, "log-driver", "json-file", "Default driver for container logs (json-file or none)")
	f.StringToStringVar(&c.logOpts, "log-opt", nil, "Default log driver options for containers (max-size, max-file)")

	f.StringVarP(&c.bridge, "bridge", "b", "", `Attach containers to this network bridge; "none" for no default network`)
	f.StringVar(&c.bip, "bip", "", "IPv4 address for the default bridge, with prefix length")
	f.StringVar(&c.fixedCIDR, "fixed-cidr", "", "IPv4 subnet for the containers' addresses")
	f.StringVar(&c.fixedCIDR6, "fixed-cidr-v6", "", "IPv6 network of the default bridge (with --ipv6)")
	f.StringVar(&c.defaultGateway6, "default-gateway-v6", "", "Default gateway IPv6 address of the default bridge")
	f.BoolVar(&c.ip6tables, "ip6tables", true, "Manage packet filter rules for IPv6 (nftables)")
	f.StringVar(&c.firewallMode, "firewall", "nat", `How published ports pass the host's firewall: "nat" translates them before it, "host" lets its rules for the host itself decide`)
	f.StringVar(&c.defaultGateway, "default-gateway", "", "Default gateway IPv4 address of the default bridge")
	f.IntVar(&c.mtu, "mtu", 0, "MTU of the default bridge (default 1500)")
	f.BoolVar(&c.icc, "icc", true, "Enable inter-container communication on the default bridge")
	f.BoolVar(&c.ipForward, "ip-forward", true, "Enable IP forwarding")
	f.BoolVar(&c.ipMasq, "ip-masq", true, "Enable IP masquerading")
	f.BoolVar(&c.iptables, "iptables", true, "Manage packet filter rules (nftables)")
	f.BoolVar(&c.ipv6, "ipv6", false, "Enable IPv6 networking")
	f.BoolVar(&c.userlandProxy, "userland-proxy", false, "Taken for Docker's sake: ports are published without a proxy process, whatever is said here")
	// Service files of Docker's packages name its containerd.
	for _, name := range []string{"containerd", "containerd-namespace", "containerd-plugins-namespace"} {
		f.String(name, "", "Taken for Docker's sake: containers are started without containerd, whatever is said here")
	}
	f.StringArrayVar(&c.featureTexts, "feature", nil, "Switch features, as NAME=true or NAME=false (buildkit, cdi, containerd-snapshotter)")
	f.IPVar(&c.ip, "ip", nil, "Host IP for port publishing from the default bridge network")
	f.StringArrayVar(&c.dns, "dns", nil, "DNS server to use")
	f.StringArrayVar(&c.dnsSearch, "dns-search", nil, "DNS search domains to use")
	f.StringArrayVar(&c.dnsOpts, "dns-opt", nil, "DNS options to use")
	f.StringArrayVar(&c.hostGatewayIPs, "host-gateway-ip", nil, `IP addresses that "host-gateway" in --add-host resolves to`)
	f.StringArrayVar(&c.addressPools, "default-address-pool", nil, "Address pools of networks, as base=10.0.0.0/8,size=24")
	f.StringArrayVar(&c.networkOpts, "default-network-opt", nil, "Default options of new networks, as DRIVER=OPTION=VALUE")
	f.StringVar(&c.firewall, "firewall-backend", "nftables", "Firewall backend to use (nftables)")

	f.BoolVar(&c.experimental, "experimental", false, "Tell clients that experimental features are on: docker has its command checkpoint only then")
	f.BoolVar(&c.liveRestore, "live-restore", true, "Leave containers running when the daemon ends")
	f.IntVar(&c.shutdownTimeout, "shutdown-timeout", defaultShutdown, "Seconds that a shutdown without --live-restore may take")
	f.StringVarP(&c.storageDriver, "storage-driver", "s", "overlay2", "Storage driver to use (overlay2, btrfs or vfs)")
	f.StringVar(&c.defaultRuntime, "default-runtime", runtimeName, "Default OCI runtime for containers")
	f.Var(&c.runtimes, "add-runtime", "Register an additional OCI compatible runtime, as NAME=PATH")
	f.StringVar(&c.usernsRemap, "userns-remap", "", "User/Group setting for user namespaces (default, USER, USER:GROUP)")
	f.StringVar(&c.runtimeBinary, "runtime-binary", "", "Path of sampan-runtime (default: beside sampand, then in PATH)")
	f.StringVar(&c.boxBinary, "box-binary", "", "Path of sampan-box (default: beside sampand)")
	f.BoolVar(&c.init, "init", false, "Run an init in the container to forward signals and reap processes")
	f.StringVar(&c.initPath, "init-path", "", "Init program to use in place of the built-in one")
	f.BoolVar(&c.noNewPrivileges, "no-new-privileges", false, "Set no-new-privileges by default for new containers")
	f.Var(&c.ulimits, "default-ulimit", "Default ulimits for containers")
	c.shmSize = ocispec.DefaultShmSize
	f.Var(&c.shmSize, "default-shm-size", "Default shm size for containers")
	f.Int64Var(&c.pidsLimit, "default-pids-limit", ocispec.DefaultPidsLimit, "Default limit of processes for containers (0 for none)")
	f.StringVar(&c.seccompProfile, "seccomp-profile", "builtin", `Path to seccomp profile, "unconfined" or "builtin"`)
	f.StringVar(&c.cgroupParent, "cgroup-parent", "", "Set parent cgroup for all containers")
	f.StringVar(&c.ipcMode, "default-ipc-mode", "private", `Default mode for containers ipc ("shareable" | "private")`)
	f.StringVar(&c.cgroupns, "default-cgroupns-mode", "", `Default mode for containers cgroup namespace ("host" | "private")`)
	f.StringArrayVar(&c.execOpts, "exec-opt", nil, "Runtime execution options (native.cgroupdriver=cgroupfs or systemd)")
	f.StringArrayVar(&c.cdiDirs, "cdi-spec-dir", cdi.DefaultDirs(), "Directories with CDI specifications of devices")
	f.StringArrayVar(&c.labels, "label", nil, "Set key=value labels to the daemon")
	c.registry.define(f)
	for _, name := range []string{"runtime-binary", "box-binary"} {
		_ = f.MarkHidden(name) // for tests; the name is right above
	}
}

// configure reads flags and file and checks the result.
func configure(args []string) (*config, error) {
	c := &config{}
	f := pflag.NewFlagSet("sampand", pflag.ContinueOnError)
	f.SortFlags = true
	f.Usage = func() { fmt.Printf("Usage:  sampand [OPTIONS]\n\nSampan's daemon.\n\nOptions:\n%s", f.FlagUsages()) }
	c.define(f)
	defineRefused(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is not a flag; sampand takes no arguments (see sampand --help)", f.Arg(0))
	}
	if c.version {
		return c, nil
	}
	if err := readFile(f, c.configFile); err != nil {
		return nil, err
	}
	if err := checkRefused(f); err != nil {
		return nil, err
	}
	c.values = map[string]string{}
	f.VisitAll(func(fl *pflag.Flag) { c.values[fl.Name] = fl.Value.String() })
	if err := c.complete(); err != nil {
		return nil, err
	}
	return c, nil
}

// complete fills in what depends on other options.
func (c *config) complete() error {
	for _, dir := range []*string{&c.dataRoot, &c.execRoot} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		*dir = abs
	}
	if c.pidFile == "" {
		c.pidFile = filepath.Join(c.execRoot, "sampan.pid")
	}
	if len(c.hosts) == 0 {
		c.hosts = []string{"unix://" + filepath.Join(c.execRoot, "sampan.sock")}
	}
	for i, h := range c.hosts {
		if strings.HasPrefix(h, "/") {
			c.hosts[i] = "unix://" + h
		} else if !strings.Contains(h, "://") {
			c.hosts[i] = "tcp://" + h // as Docker reads HOST:PORT
		}
	}
	c.tls = c.tls || c.tlsVerify
	return c.check()
}

// ulimits is a flag value: nofile=1024:2048, any number of times.
type ulimits []*container.Ulimit

func (u *ulimits) String() string {
	parts := make([]string, len(*u))
	for i, l := range *u {
		parts[i] = l.String()
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func (u *ulimits) Set(text string) error {
	l, err := units.ParseUlimit(text)
	if err != nil {
		return err
	}
	*u = append(slices.DeleteFunc(*u, func(o *container.Ulimit) bool { return o.Name == l.Name }), l)
	return nil
}

func (u *ulimits) Type() string { return "ulimit" }

// bytes is a flag value: 64m, 1g.
type bytes int64

func (b *bytes) String() string { return units.BytesSize(float64(*b)) }

func (b *bytes) Set(text string) error {
	n, err := units.RAMInBytes(text)
	if err == nil && n <= 0 {
		err = fmt.Errorf("must be more than 0")
	}
	*b = bytes(n)
	return err
}

func (b *bytes) Type() string { return "bytes" }
