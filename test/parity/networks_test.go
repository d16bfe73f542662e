package parity

import (
	"strings"
	"testing"
)

// networkCases are made on both engines word by word, and compared.
var networkCases = []struct {
	name  string
	flags []string
}{
	{"plain-net", nil},
	{"subnet-net", []string{"--subnet", "10.71.0.0/24"}},
	{"gateway-net", []string{"--subnet", "10.72.0.0/16", "--gateway", "10.72.5.1", "--ip-range", "10.72.5.0/24", "--aux-address", "router=10.72.5.9"}},
	{"internal-net", []string{"--internal", "--subnet", "10.73.0.0/24"}},
	{"labelled-net", []string{"--subnet", "10.74.0.0/24", "--label", "tier=front", "--label", "empty", "--attachable"}},
	{"options-net", []string{"--subnet", "10.75.0.0/24", "-o", "com.docker.network.bridge.name=br-options", "-o", "com.docker.network.bridge.enable_icc=false",
		"-o", "com.docker.network.bridge.enable_ip_masquerade=false", "-o", "com.docker.network.bridge.host_binding_ipv4=127.0.0.1", "-o", "com.docker.network.driver.mtu=1400"}},
	{"six-net", []string{"--ipv6", "--subnet", "10.76.0.0/24", "--subnet", "fd00:76::/64", "--gateway", "fd00:76::1"}},
	{"range-net", []string{"--subnet", "10.77.0.0/16", "--ip-range", "10.77.9.0/24"}},
	{"config-net", []string{"--config-only", "--subnet", "10.78.0.0/24"}},
	{"from-net", []string{"--config-from", "config-net"}},
}

// networkMembers are containers on them; every one gets the address it asks for,
// or the first of a network that is its own.
var networkMembers = []containerCase{
	{name: "on-subnet", flags: []string{"--network", "subnet-net"}},
	{name: "on-gateway", flags: []string{"--network", "gateway-net", "--ip", "10.72.5.77"}},
	{name: "on-internal", flags: []string{"--network", "internal-net"}},
	{name: "on-alias", flags: []string{"--network", "labelled-net", "--network-alias", "web", "--network-alias", "www"}},
	{name: "on-options", flags: []string{"--network", "options-net", "-p", "18200:80"}},
	{name: "on-six", flags: []string{"--network", "six-net", "--ip6", "fd00:76::77", "--ip", "10.76.0.77"}},
	{name: "on-internal-published", flags: []string{"--network", "internal-net", "--ip", "10.73.0.99", "-p", "18201:80"}},
	{name: "created-on", flags: []string{"--network", "range-net"}, until: "created"},
	{name: "stopped-on", flags: []string{"--network", "labelled-net", "--stop-timeout", "0"}, until: "stopped"},
}

func compareUserNetworks(t *testing.T, p *pair) {
	t.Cleanup(func() {
		p.removeAll(t)
		p.docker(t, "network", "prune", "-f")
	})
	for _, n := range networkCases {
		t.Run(n.name, func(t *testing.T) {
			p.must(t, append(append([]string{"network", "create"}, n.flags...), n.name)...)
			p.compareNetwork(t, n.name)
		})
	}
	for _, c := range networkMembers {
		t.Run(c.name, func(t *testing.T) { p.create(t, c) })
	}
	for _, n := range []string{"subnet-net", "internal-net", "six-net"} {
		p.compareNetwork(t, n)
	}
	t.Run("connect", func(t *testing.T) {
		p.must(t, "network", "connect", "--ip", "10.77.9.50", "--alias", "later", "range-net", "on-subnet")
		p.must(t, "network", "connect", "internal-net", "created-on")
		p.inspect(t, "on-subnet")
		p.inspect(t, "created-on")
		p.must(t, "network", "disconnect", "subnet-net", "on-subnet")
		p.inspect(t, "on-subnet")
		p.must(t, "network", "disconnect", "range-net", "created-on")
		p.inspect(t, "created-on")
	})
	for _, filter := range []string{"name=net", "driver=bridge", "type=custom", "type=builtin", "label=tier", "label=tier=back", "scope=local"} {
		ours, theirs := p.must(t, "network", "ls", "--filter", filter, "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}}")
		if ours != theirs {
			t.Errorf("network ls --filter %s: %q, %q", filter, ours, theirs)
		}
	}
	for _, tc := range wrongNetworks {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			a, b := p.docker(t, tc.args...)
			if a.Code != b.Code || a.Code == 0 {
				t.Errorf("%s: exit %d: %s\n%s: exit %d: %s", p.ours.name, a.Code, a.Err, p.theirs.name, b.Code, b.Err)
				return
			}
			compareWords(t, p, tc.both, a.Err, b.Err)
		})
	}
	ours, theirs := p.must(t, "network", "prune", "-f", "--filter", "label=tier")
	if ours != theirs {
		t.Errorf("prune: %q, %q", ours, theirs)
	}
	ours, theirs = p.must(t, "network", "rm", "plain-net", "from-net")
	if ours != theirs {
		t.Errorf("rm: %q, %q", ours, theirs)
	}
}

func (p *pair) compareNetwork(t *testing.T, name string) {
	t.Helper()
	for _, v := range versions {
		ours, theirs := p.both(t, func(e *engine) any {
			n := e.get(t, "/v"+v+"/networks/"+name).(map[string]any)
			var list []any
			for _, endpoint := range n["Containers"].(map[string]any) {
				list = append(list, endpoint)
			}
			n["Containers"] = byName(t, list, "Name")
			delete(n["Containers"].(map[string]any), "order")
			return n
		})
		p.compare(t, "user network", name+" at "+v, ours, theirs)
	}
}

var wrongNetworks = []struct {
	args []string
	both string
}{
	{args: []string{"network", "create", "bridge"}, both: "operation is not permitted on predefined bridge network"},
	{args: []string{"network", "create", "subnet-net"}},
	{args: []string{"network", "create", "--subnet", "10.71.0.0/25", "overlap"}, both: "Pool overlaps with other one on this address space"},
	{args: []string{"network", "create", "-d", "host", "second-host"}},
	{args: []string{"network", "create", "-d", "nonsense", "x"}, both: "*"},
	{args: []string{"network", "create", "--subnet", "nonsense", "x"}, both: "*"},
	{args: []string{"network", "create", "--subnet", "10.79.0.0/24", "--gateway", "10.80.0.1", "x"}},
	{args: []string{"network", "create", "--subnet", "10.79.0.0/24", "--ip-range", "10.80.0.0/25", "x"}},
	{args: []string{"network", "rm", "bridge"}},
	{args: []string{"network", "rm", "absent"}, both: "absent"},
	{args: []string{"network", "rm", "six-net"}, both: "has active endpoints"},
	{args: []string{"network", "inspect", "absent"}, both: "absent"},
	{args: []string{"network", "connect", "absent", "on-six"}},
	{args: []string{"network", "connect", "range-net", "absent"}},
	{args: []string{"network", "connect", "host", "on-six"}, both: "host network"},
	{args: []string{"network", "connect", "none", "on-six"}, both: "none"},
	{args: []string{"network", "connect", "six-net", "on-six"}, both: "already exists in network six-net"},
	{args: []string{"network", "connect", "--ip", "192.0.2.7", "labelled-net", "on-six"}, both: "*"},
	{args: []string{"network", "connect", "--ip", "10.76.0.77", "six-net", "on-internal"}, both: "Address already in use"},
	{args: []string{"network", "connect", "--alias", "x", "bridge", "on-six"}, both: "network-scoped alias is supported only for containers in user defined networks"},
	{args: []string{"network", "disconnect", "labelled-net", "on-six"}},
	{args: []string{"network", "disconnect", "absent", "on-six"}, both: "absent"},
	{args: []string{"run", "--network", "six-net", "--ip", "10.99.0.1", busybox, "true"}, both: "*"},
}
