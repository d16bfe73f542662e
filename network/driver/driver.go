// Package driver is the contract between the network service and the kinds of
// networks: bridge and macvlan today, overlay later. The service owns names,
// addresses, host ports and records; a driver owns links and rules in the
// kernel, and keeps no state that it could not make again from what the service
// tells it.
package driver

import (
	"context"
	"net"
	"net/netip"

	"github.com/sampan-containers/sampan/network/netns"
)

// LinkPrefix starts the names of the host's ends of links.
const LinkPrefix = "veth"

// Endpoint is what a driver needs to know of a container's endpoint.
type Endpoint struct {
	ID          string // of the endpoint
	ContainerID string
	Link        string       // name of the host's end
	Name        string       // name of the container's end
	IP, IP6     netip.Prefix // invalid = none
	LinkLocal   []netip.Prefix
	// Gateway and Gateway6 are the routers of the default routes that the link
	// is to carry; invalid = none.
	Gateway, Gateway6 netip.Addr
	MAC               net.HardwareAddr
	Sysctls           []Sysctl
	Ports             []Port
}

// Sysctl is a setting of one link: the path below /proc/sys, and the value.
type Sysctl struct{ Path, Value string }

// Port is a host port that the kernel translates to the endpoint. An unspecified
// HostIP means every address of its family. With an invalid one the host
// has no port: the container's own is opened (routed networks).
type Port struct {
	Proto         string // tcp, udp or sctp
	HostIP        netip.Addr
	HostPort      uint16
	ContainerPort uint16
}

// Driver is one network in the kernel. Methods are safe for concurrent use.
type Driver interface {
	// Attach gives the sandbox the endpoint: link, addresses, default routes. A
	// failure leaves at most a link that ends with the sandbox's namespace.
	Attach(ctx context.Context, sb *netns.Sandbox, ep Endpoint) error
	// Publish starts to translate the endpoint's ports. It fails whole.
	Publish(ctx context.Context, ep Endpoint) error
	// Unpublish ends the translation of the endpoint's ports; of those that are
	// not translated it is no error.
	Unpublish(ctx context.Context, ep Endpoint) error
	// Detach ends the translation and sees to it that the link goes, at the
	// latest a moment after the namespace should have ended. It is idempotent.
	Detach(ctx context.Context, ep Endpoint) error
	// Close lets go of the network and leaves it working for its containers.
	Close() error
	// Remove takes the network out of the kernel and closes it.
	Remove(ctx context.Context) error
}
