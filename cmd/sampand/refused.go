package main

import (
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

// refused are dockerd's flags that do not work here yet, each with the reason a
// user gets. A boolean may be given as false, which is what happens anyway.
var refused = []struct{ name, kind, why string }{
	{"allow-direct-routing", "bool", "direct routing to containers is not available yet"},
	{"authorization-plugin", "list", "authorization plugins are not available yet"},
	{"bip6", "string", "name the IPv6 network of the default bridge by --fixed-cidr-v6"},
	{"bridge-accept-fwmark", "string", "packet marks of the default bridge are not available yet"},
	{"cpu-rt-period", "string", "real-time scheduling limits are not available yet"},
	{"cpu-rt-runtime", "string", "real-time scheduling limits are not available yet"},
	{"cri-containerd", "bool", "Sampan does not use containerd"},
	{"ip-forward-no-drop", "bool", "Sampan never sets the policy of the FORWARD chain, so there is nothing to leave out"},
	{"metrics-addr", "string", "metrics are not available yet"},
	{"network-control-plane-mtu", "string", "overlay networks are not available yet"},
	{"node-generic-resource", "list", "swarm mode is not available yet"},
	{"raw-logs", "bool", "the daemon's log has no colours to switch off"},
	{"rootless", "bool", "rootless mode is not available yet"},
	{"selinux-enabled", "bool", "SELinux labels are not available yet"},
	{"storage-opt", "list", "the overlay2 driver has no options yet"},
	{"swarm-default-advertise-addr", "string", "swarm mode is not available yet"},
	{"userland-proxy-path", "string", "Sampan has no proxy process"},
}

// defineRefused makes the flags known, so that they are refused by their name
// and not as a typing error.
func defineRefused(f *pflag.FlagSet) {
	for _, r := range refused {
		switch r.kind {
		case "bool":
			f.Bool(r.name, false, "")
		case "list":
			f.StringArray(r.name, nil, "")
		default:
			f.String(r.name, "", "")
		}
		_ = f.MarkHidden(r.name) // defined right above
	}
}

func checkRefused(f *pflag.FlagSet) error {
	for _, r := range refused {
		flag := f.Lookup(r.name)
		if !flag.Changed || r.kind == "bool" && flag.Value.String() == "false" {
			continue
		}
		return fmt.Errorf("--%s: %s", r.name, r.why)
	}
	return nil
}

// fileKey is a flag's name in daemon.json: lists have plural names there.
func fileKey(flag string) string {
	plurals := map[string]string{
		"host": "hosts", "label": "labels", "log-opt": "log-opts", "dns-opt": "dns-opts", "exec-opt": "exec-opts",
		"default-ulimit": "default-ulimits", "default-address-pool": "default-address-pools", "host-gateway-ip": "host-gateway-ips",
		"add-runtime": "runtimes", "storage-opt": "storage-opts", "registry-mirror": "registry-mirrors",
		"insecure-registry": "insecure-registries", "authorization-plugin": "authorization-plugins", "feature": "features",
		"default-network-opt": "default-network-opts", "node-generic-resource": "node-generic-resources", "cdi-spec-dir": "cdi-spec-dirs",
	}
	if key, ok := plurals[flag]; ok {
		return key
	}
	return flag
}

// notInFile are flags about one invocation, not about the daemon.
func notInFile(flag string) bool {
	return slices.Contains([]string{"version", "validate", "config-file", "help"}, flag)
}
