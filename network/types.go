package network

import (
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/sampan-containers/sampan/network/dns"
	"github.com/sampan-containers/sampan/network/ipam"
	"github.com/sampan-containers/sampan/state"
)

// The names of the networks that always exist.
const (
	DefaultNetwork = "bridge" // every container that names none
	HostNetwork    = "host"   // the host's own namespace; nothing is joined
	NoneNetwork    = "none"   // a namespace of its own with lo only
)

// DefaultBridge is the bridge device when Config.Bridge is empty.
const DefaultBridge = "sampan0"

// NoBridge as Config.Bridge turns the default bridge off: host, none,
// container:X and user-defined networks remain.
const NoBridge = "none"

// Config is the daemon's network configuration. The zero value is not usable:
// start from DefaultConfig.
type Config struct {
	Bridge string // name of the bridge device, "" = sampan0, NoBridge = no default network
	BIP    string // address and prefix of the bridge, e.g. 10.9.0.1/24; "" = first free pool
	// FixedCIDR limits the addresses given to containers to a part of the
	// bridge's network.
	FixedCIDR string
	// FixedCIDR6 is the IPv6 network of the default bridge; "" = a unique local
	// /64 when IPv6 is set.
	FixedCIDR6 string
	// DefaultGateway replaces the bridge's address as the containers' router.
	DefaultGateway, DefaultGateway6 netip.Addr
	// DefaultOptions are the options of new networks that do not say otherwise, by driver.
	DefaultOptions map[string]map[string]string
	// DefaultPools are tried in order where no subnet is named; nil = Docker's.
	DefaultPools []ipam.Range
	MTU          int // 0 = 1500
	// ICC lets containers of one network talk to each other. False isolates
	// their bridge ports. A container then still reaches what another publishes,
	// over the host's address, unless br_netfilter is on: it translates inside
	// the bridge, where isolation comes after it.
	ICC       bool
	IPMasq    bool // masquerade what leaves the bridge
	IPForward bool // switch IP forwarding on; it stays on, as others may rely on it by then
	IPv6      bool // on the default bridge
	// SplicePorts serves every published port from the shim's bound socket
	// instead of translating it in the kernel ("firewall": "host"). Packets then
	// pass the host's INPUT chain like those of any host process (SECURITY.md
	// N7), at the price of the client's address, which the container no longer
	// sees. UDP ports are refused.
	SplicePorts bool
	// NoRules leaves the packet filter alone (--iptables=false): networks are not kept
	// apart, nothing is masqueraded, and ports are served as with SplicePorts.
	NoRules bool

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
	Proto  string     // tcp, udp or sctp
	HostIP netip.Addr // invalid = every address
	// HostPortFirst and HostPortLast name a port (equal, or last 0) or a range
	// of which the first free one is taken; both 0 = any free port.
	HostPortFirst, HostPortLast uint16
	ContainerPort               uint16
}

// EndpointRequest asks for a place in one network.
type EndpointRequest struct {
	Network   string           // name, ID or prefix of an ID; "" or "default" = DefaultNetwork
	IP, IP6   netip.Addr       // invalid = any; refused on the default network, as Docker does
	MAC       net.HardwareAddr // nil = from the address
	LinkLocal []netip.Addr     // further addresses of the link
	Aliases   []string
	Links     map[string]string // alias → container, for this container alone
	Priority  int               // the highest has the default route
	Options   map[string]string // com.docker.network.endpoint.*
}

// JoinRequest asks for a namespace with endpoints in it.
type JoinRequest struct {
	ContainerID string
	Name        string // the container's name, for messages, inspect and look-ups
	// Endpoints are in the order of their interfaces; none = DefaultNetwork.
	Endpoints []EndpointRequest
	Ports     []PortRequest
	Resolver  ResolverOptions
	// NetNS is a new namespace to use, made for another user namespace; nil = one is
	// made. Where it is used it becomes the Sandbox's.
	NetNS *os.File
}

// ConnectRequest puts a running container into one more network.
type ConnectRequest struct {
	ContainerID, Name string
	NetNS             *os.File // its namespace; stays the caller's
	Endpoint          EndpointRequest
	// Also is stored in the same transaction as the endpoint.
	Also func(*state.Tx) error
}

// Joined is a running container's place in its networks. It is never changed
// once it was given out.
type Joined struct {
	Endpoints []Endpoint // in the order of their interfaces
	Ports     []BoundPort
}

// Endpoint returns the endpoint in the network of that name, or nil.
func (j *Joined) Endpoint(network string) *Endpoint {
	if j == nil {
		return nil
	}
	for i := range j.Endpoints {
		if j.Endpoints[i].Network == network {
			return &j.Endpoints[i]
		}
	}
	return nil
}

// Addrs returns the container's addresses, in the order of its interfaces.
func (j *Joined) Addrs() []netip.Addr {
	var out []netip.Addr
	for i := range j.Endpoints {
		out = append(out, j.Endpoints[i].Addrs()...)
	}
	return out
}

// Target is the address that published ports lead to.
func (j *Joined) Target() netip.Addr {
	gw4, gw6 := gateways(j.Endpoints)
	switch {
	case gw4 >= 0:
		return j.Endpoints[gw4].IP.Addr()
	case gw6 >= 0:
		return j.Endpoints[gw6].IP6.Addr()
	}
	return netip.Addr{}
}

// Sandbox is a joined namespace. NetNS and the Files of Sockets belong to the
// caller: hand them to the shim, then call Close.
type Sandbox struct {
	NetNS    *os.File
	Joined   *Joined // nil for a namespace without networks
	Sockets  []BoundPort
	Resolver dns.Sockets // for the shim to keep; none on the default network
}

// Close closes the daemon's copies of the descriptors. It does not Leave.
func (s *Sandbox) Close() {
	if s.NetNS != nil {
		s.NetNS.Close()
	}
	closeSockets(s.Sockets)
	s.Resolver.Close()
}

// closeSockets closes the daemon's copies.
func closeSockets(socks []BoundPort) {
	for i := range socks {
		if f := socks[i].File; f != nil {
			f.Close()
		}
	}
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network    string // name
	NetworkID  string
	Driver     string `json:",omitempty"` // "" = bridge
	EndpointID string
	Interface  string `json:",omitempty"` // "" = eth0, in records of the first daemons
	IP         netip.Prefix
	IP6        netip.Prefix `json:",omitzero"`
	Gateway    netip.Addr   // of the network; invalid when it has none
	Gateway6   netip.Addr   `json:",omitzero"`
	MAC        net.HardwareAddr
	LinkLocal  []netip.Prefix    `json:",omitempty"`
	Priority   int               `json:",omitempty"`
	Names      []string          `json:",omitempty"` // as the network's containers look it up; the first is for reverse look-ups
	Links      map[string]string `json:",omitempty"`
	Internal   bool              `json:",omitempty"`
	Sysctls    []string          `json:",omitempty"` // of the interface, key=value
}

// Addrs returns the endpoint's addresses.
func (e *Endpoint) Addrs() []netip.Addr {
	var out []netip.Addr
	for _, p := range []netip.Prefix{e.IP, e.IP6} {
		if p.IsValid() {
			out = append(out, p.Addr())
		}
	}
	return out
}

// BoundPort is one host socket of a published port.
//
// Splice false: the kernel translates; the socket only reserves the port, it is
// bound but does not listen. Splice true (tcp only): the socket listens, and
// whoever holds it accepts and relays to the container's address. That is so for
// every IPv6 address: the kernel cannot translate ::1, nor from IPv6 to IPv4. Where
// the container has an IPv6 address the kernel translates the rest before it
// gets to the socket; a container with IPv4 alone is reached over IPv6 by the
// relay, and sees its connections come from the bridge's address.
//
// HostPort 0: the network is routed, and the port is reached at the container's
// address without any port of the host.
type BoundPort struct {
	Proto         string
	HostIP        netip.Addr
	HostPort      uint16
	ContainerPort uint16
	Splice        bool
	File          *os.File `json:"-"`
}
