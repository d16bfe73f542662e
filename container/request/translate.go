package request

import (
	"slices"
	"strings"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
	"github.com/moby/term"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network"
)

// Ports turns -p and -P into what the network binds.
func Ports(c *container.Config, hc *container.HostConfig) ([]network.PortRequest, error) {
	var out []network.PortRequest
	for port, bindings := range hc.PortBindings {
		if len(bindings) == 0 {
			bindings = []mobynet.PortBinding{{}} // any address, any port
		}
		for _, b := range bindings {
			first, last, err := HostPorts(b.HostPort)
			if err != nil {
				return nil, err
			}
			out = append(out, network.PortRequest{Proto: string(port.Proto()), HostIP: b.HostIP, HostPortFirst: first, HostPortLast: last, ContainerPort: port.Num()})
		}
	}
	if hc.PublishAllPorts {
		for port := range c.ExposedPorts {
			if _, bound := hc.PortBindings[port]; !bound {
				out = append(out, network.PortRequest{Proto: string(port.Proto()), ContainerPort: port.Num()})
			}
		}
	}
	slices.SortFunc(out, func(a, b network.PortRequest) int {
		if d := int(a.ContainerPort) - int(b.ContainerPort); d != 0 {
			return d
		}
		return int(a.HostPortFirst) - int(b.HostPortFirst)
	})
	return out, nil
}

// DetachKeys parses the keys that end an attachment.
func DetachKeys(text string) ([]byte, error) {
	if text == "" {
		text = "ctrl-p,ctrl-q"
	}
	keys, err := term.ToBytes(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "Invalid detach keys (%s) provided", text)
	}
	return keys, nil
}

// SamePlatform tells whether an image is for the platform of the request,
// os/arch[/variant], os, or arch.
func SamePlatform(want string, img *dockerspec.DockerOCIImage) bool {
	parts := strings.Split(want, "/")
	if parts[0] != img.OS && len(parts) > 1 {
		return false
	}
	arch := parts[len(parts)-1]
	if len(parts) > 1 {
		arch = parts[1]
	}
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	}
	return arch == img.Architecture || len(parts) == 1 && arch == img.OS
}
