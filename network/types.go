package network

import (
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/network/ipam"
)

// The names of the networks that always exist.
const (
	DefaultNetwork = "bridge" // every container that names none
	HostNetwork    = "host"   // the host's own namespace; nothing is joined
	NoneNetwork    = "none"   // a namespace of its own with lo only
)

// DefaultBridge is the bridge device when Config.Bridge is empty.
const DefaultBridge = "sampan0"

// NoBridge as Config.Bridge turns the default bridge off: only host, none and
// container:X remain.
const NoBridge = "none"

// Config is the daemon's network configuration. The zero value is not usable:
// start from DefaultConfig.
type Config struct {
	Bridge string // name of the bridge device, "" = sampan0, NoBridge = no default network
	BIP    string // address and prefix of the bridge, e.g. 10.9.0.1/24; "" = first free pool
	// FixedCIDR limits the addresses given to containers to a part of the
	// bridge's network.
	FixedCIDR string
	// DefaultGateway replaces the bridge's address as the containers' router.
	DefaultGateway netip.Addr
	// DefaultPools are tried in order when BIP is empty; nil = Docker's.
	DefaultPools []ipam.Range
	MTU          int // 0 = 1500
	// ICC lets containers of one network talk to each other. False isolates
	// their bridge ports. A container then still reaches what another publishes,
	// over the host's address, unless br_netfilter is on: it translates inside
	// the bridge, where isolation comes after it.
	ICC       bool
	IPMasq    bool // masquerade what leaves the bridge
	IPForward bool // switch net.ipv4.ip_forward on; it stays on, as others may rely on it by then
	IPv6      bool // refused for now, by name
	// SplicePorts serves every published port from the shim's bound socket
	// instead of translating it in the kernel. Packets then pass the host's
	// INPUT chain like those of any host process (SECURITY.md N7), at the price
	// of the client's address, which the container no longer sees. UDP ports are
	// refused.
	SplicePorts bool

	DNS, DNSSearch, DNSOptions []string     // --dns, --dns-search, --dns-opt of the daemon
	HostGatewayIPs             []netip.Addr // what "host-gateway" means; nil = the bridge's address
	DefaultBindIP              netip.Addr   // --ip: host address of ports that name none

	Log *slog.Logger // nil = discard
}

// DefaultConfig is what a daemon without flags runs with.
func DefaultConfig() Config {
	return Config{ICC: true, IPMasq: true, IPForward: true}
}

// PortRequest is one -p of a container.
type PortRequest struct {
	Proto  string     // tcp or udp; sctp is refused
	HostIP netip.Addr // invalid = every address, with tcp IPv6 too
	// HostPortFirst and HostPortLast name a port (equal, or last 0) or a range
	// of which the first free one is taken; both 0 = any free port.
	HostPortFirst, HostPortLast uint16
	ContainerPort               uint16
}

// JoinRequest asks for a namespace with one endpoint in it.
type JoinRequest struct {
	ContainerID string
	Name        string // the container's name, for messages and inspect
	Network     string // "" or "default" = DefaultNetwork
	Resolver    ResolverOptions
	Ports       []PortRequest
	MAC         net.HardwareAddr // nil = from the address
	IP          netip.Addr       // refused on the default network, as Docker does
}

// Sandbox is a joined namespace. NetNS and the Files of Sockets belong to the
// caller: hand them to the shim, then call Close.
type Sandbox struct {
	NetNS    *os.File
	Endpoint *Endpoint
	Sockets  []BoundPort
	Resolver dns.Sockets // for the shim to keep; none on the default network
}

// Close closes the daemon's copies of the descriptors. It does not Leave.
func (s *Sandbox) Close() {
	if s.NetNS != nil {
		s.NetNS.Close()
	}
	for i := range s.Sockets {
		if f := s.Sockets[i].File; f != nil {
			f.Close()
		}
	}
	s.Resolver.Close()
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network    string // name
	NetworkID  string
	EndpointID string
	IP         netip.Prefix
	Gateway    netip.Addr
	MAC        net.HardwareAddr
	Ports      []BoundPort // without File
}

// BoundPort is one host socket of a published port.
//
// Splice false: the kernel translates; the socket only reserves the port, it is
// bound but does not listen. Splice true (tcp only): the socket listens, and
// whoever holds it accepts and relays to the container's address, because the
// kernel cannot translate between IPv6 and IPv4. That is so for every IPv6
// address, not only ::1: a container with IPv4 alone is reached over IPv6 by the
// relay, and sees its connections come from the bridge's address.
type BoundPort struct {
	Proto         string
	HostIP        netip.Addr
	HostPort      uint16
	ContainerPort uint16
	Splice        bool
	File          *os.File `json:"-"`
}
