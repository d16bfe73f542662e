package value

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/moby/moby/api/types/network"
)

// Ports turns the values of --publish and --expose into the API's two maps.
func Ports(publish, expose []string) (network.PortSet, network.PortMap, error) {
	set, bindings := network.PortSet{}, network.PortMap{}
	for _, spec := range publish {
		spec, err := shortPublish(spec)
		if err != nil {
			return nil, nil, err
		}
		mappings, err := nat.ParsePortSpec(spec)
		if err != nil {
			return nil, nil, err
		}
		for _, m := range mappings {
			port, err := network.ParsePort(string(m.Port))
			if err != nil {
				return nil, nil, fmt.Errorf("invalid published port %s: %w", spec, err)
			}
			b := network.PortBinding{HostPort: m.Binding.HostPort}
			if m.Binding.HostIP != "" {
				if b.HostIP, err = netip.ParseAddr(m.Binding.HostIP); err != nil {
					return nil, nil, fmt.Errorf("invalid address in published port %s: %w", spec, err)
				}
			}
			set[port] = struct{}{}
			if !slices.Contains(bindings[port], b) {
				bindings[port] = append(bindings[port], b)
			}
		}
	}
	for _, spec := range expose {
		if strings.Contains(spec, ":") {
			return nil, nil, fmt.Errorf("invalid port format for --expose: %s", spec)
		}
		ports, err := network.ParsePortRange(spec)
		if err != nil {
			return nil, nil, fmt.Errorf("invalid range format for --expose: %w", err)
		}
		for port := range ports.All() {
			set[port] = struct{}{}
		}
	}
	return set, bindings, nil
}

// shortPublish rewrites the long form published=8080,target=80,protocol=tcp.
func shortPublish(spec string) (string, error) {
	if !strings.Contains(spec, "=") {
		return spec, nil
	}
	params := map[string]string{"protocol": "tcp"}
	for _, param := range strings.Split(spec, ",") {
		key, val, ok := strings.Cut(param, "=")
		if !ok || key == "" {
			return "", fmt.Errorf("invalid publish opts format (should be name=value but got '%s')", param)
		}
		params[key] = val
	}
	return fmt.Sprintf("%s:%s/%s", params["published"], params["target"], params["protocol"]), nil
}
