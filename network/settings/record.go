// Package settings holds what a network is: its record in the state store, the
// options of its driver, and the checks of a request to create one. It looks at
// nothing but the request; addresses that nobody asked for are chosen by the
// network service.
package settings

import (
	"net/netip"
	"slices"
	"time"

	mobynet "github.com/moby/moby/api/types/network"
)

// The drivers.
const (
	Bridge  = "bridge"
	Host    = "host"
	Null    = "null" // of the network none
	Macvlan = "macvlan"
	IPvlan  = "ipvlan"
)

// OnWire tells whether containers have links on an interface of the host.
func (n *Network) OnWire() bool { return n.Driver == Macvlan || n.Driver == IPvlan }

// Network is a network in the state store.
type Network struct {
	ID      string
	Name    string
	Driver  string
	Created time.Time
	// Address and Address6 are the default bridge's addresses in its networks;
	// they are kept so that what was chosen once stays the same.
	Address  netip.Prefix
	Address6 netip.Prefix `json:",omitzero"`

	// The rest is of user-defined networks.
	NoIPv4, IPv6                     bool              `json:",omitempty"`
	Internal, Attachable, ConfigOnly bool              `json:",omitempty"`
	ConfigFrom                       string            `json:",omitempty"`
	Options, Labels                  map[string]string `json:",omitempty"`
	IPAMOptions                      map[string]string `json:",omitempty"`
	Pools                            []Pool            `json:",omitempty"`
}

// Pool is one subnet of a network.
type Pool struct {
	Subnet  netip.Prefix
	Range   netip.Prefix          `json:",omitzero"` // the part that is handed out
	Gateway netip.Addr            `json:",omitzero"`
	Aux     map[string]netip.Addr `json:",omitempty"`
}

// Inspect is the network as the API shows it, without its containers.
func (n *Network) Inspect() mobynet.Inspect {
	i := mobynet.Inspect{Containers: map[string]mobynet.EndpointResource{}}
	i.Network = mobynet.Network{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: "local", Driver: n.Driver,
		EnableIPv4: !n.NoIPv4, EnableIPv6: n.IPv6, Internal: n.Internal, Attachable: n.Attachable,
		ConfigOnly: n.ConfigOnly, ConfigFrom: mobynet.ConfigReference{Network: n.ConfigFrom},
		IPAM:    mobynet.IPAM{Driver: "default", Options: n.IPAMOptions, Config: []mobynet.IPAMConfig{}},
		Options: n.Options, Labels: n.Labels,
	}
	if i.Options == nil {
		i.Options = map[string]string{}
	}
	if i.Labels == nil {
		i.Labels = map[string]string{}
	}
	for _, p := range n.Pools {
		i.IPAM.Config = append(i.IPAM.Config, mobynet.IPAMConfig{Subnet: p.Subnet, IPRange: p.Range, Gateway: p.Gateway, AuxAddress: p.Aux})
	}
	// Whatever the order they were asked for in, as in Docker.
	slices.SortStableFunc(i.IPAM.Config, func(a, b mobynet.IPAMConfig) int { return a.Subnet.Addr().BitLen() - b.Subnet.Addr().BitLen() })
	return i
}

// Predefined networks exist on every engine and cannot be made or removed.
func Predefined(name string) bool {
	return name == mobynet.NetworkBridge || name == mobynet.NetworkHost || name == mobynet.NetworkNone || name == mobynet.NetworkDefault
}
