package settings

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/network/netlink"
)

// Docker's names of the options.
const (
	prefix       = "com.docker.network."
	OptName      = prefix + "bridge.name"
	OptDefault   = prefix + "bridge.default_bridge"
	OptICC       = prefix + "bridge.enable_icc"
	OptMasq      = prefix + "bridge.enable_ip_masquerade"
	OptHost4     = prefix + "bridge.host_binding_ipv4"
	optHost6     = prefix + "bridge.host_binding_ipv6"
	optInhibit   = prefix + "bridge.inhibit_ipv4"
	optMode4     = prefix + "bridge.gateway_mode_ipv4"
	optMode6     = prefix + "bridge.gateway_mode_ipv6"
	OptMTU       = prefix + "driver.mtu"
	optIfPrefix  = prefix + "container_iface_prefix"
	OptIfName    = prefix + "endpoint.ifname"
	OptSysctls   = prefix + "endpoint.sysctls"
	maxIfPrefix  = unix.IFNAMSIZ - 1 - 3 // leaves room for a number
	minMTU       = 68
	maxMTU       = 65535
	minMTU6      = 1280
	parentOption = "parent"
)

// GatewayMode is how containers of a bridge are reached from outside, for one
// address family.
type GatewayMode string

// The modes; "" is nat.
const (
	NAT         GatewayMode = "nat"
	Unprotected GatewayMode = "nat-unprotected" // nat, and every port is reached directly too
	Routed      GatewayMode = "routed"          // no translation; published ports are reached directly
	Isolated    GatewayMode = "isolated"        // internal, and the host has no address either
)

// BridgeOptions are the options of a bridge network.
type BridgeOptions struct {
	Name            string // of the bridge, "" = from the id
	ICC, Masquerade bool
	HostIP          netip.Addr // of published ports that name none
	Inhibit         bool       // the host gets no IPv4 address
	Mode4, Mode6    GatewayMode
	MTU             int
	IfPrefix        string // of the container's interfaces, "" = eth
}

// reader reads options, keeps the first error, and knows which were read.
type reader struct {
	options map[string]string
	read    map[string]bool
	err     error
}

func (r *reader) text(key string) string {
	r.read[key] = true
	return r.options[key]
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) flag(key string, otherwise bool) bool {
	text := r.text(key)
	if text == "" {
		return otherwise
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		r.fail(invalid("network option %s: %q is not true or false", key, text))
	}
	return v
}

func (r *reader) mtu(ipv6 bool) int {
	text := r.text(OptMTU)
	if text == "" {
		return 0
	}
	v, err := strconv.Atoi(text)
	switch {
	case err != nil || v != 0 && (v < minMTU || v > maxMTU):
		r.fail(invalid("network option %s: %q is not possible (%d to %d)", OptMTU, text, minMTU, maxMTU))
	case ipv6 && v != 0 && v < minMTU6:
		r.fail(invalid("network option %s: IPv6 needs an MTU of at least %d", OptMTU, minMTU6))
	}
	return v
}

func (r *reader) mode(key string) GatewayMode {
	m := GatewayMode(r.text(key))
	if m != "" && !slices.Contains([]GatewayMode{NAT, Unprotected, Routed, Isolated}, m) {
		r.fail(invalid("network option %s: unknown gateway mode %q (nat, nat-unprotected, routed or isolated)", key, m))
	}
	return m
}

// rest refuses the options of Docker's name space that nobody read: they would
// be taken and have no effect.
func (r *reader) rest() error {
	for _, key := range slices.Sorted(maps.Keys(r.options)) {
		if !r.read[key] && strings.HasPrefix(key, prefix) {
			r.fail(invalid("network option %s is not known for this driver", key))
		}
	}
	return r.err
}

// Bridge reads the options of a bridge network.
func (n *Network) Bridge() (*BridgeOptions, error) {
	r := &reader{options: n.Options, read: map[string]bool{}}
	o := &BridgeOptions{
		Name: r.text(OptName), ICC: r.flag(OptICC, true), Masquerade: r.flag(OptMasq, true), Inhibit: r.flag(optInhibit, false),
		Mode4: r.mode(optMode4), Mode6: r.mode(optMode6), MTU: r.mtu(n.IPv6), IfPrefix: r.text(optIfPrefix),
	}
	for _, key := range []string{OptHost4, optHost6} {
		a, err := parseAddr(key, r.text(key))
		if err != nil {
			r.fail(err)
		}
		if a.IsValid() && !o.HostIP.IsValid() {
			o.HostIP = a
		}
	}
	if r.flag(OptDefault, false) {
		r.fail(invalid("network option %s: there is one default bridge, which the daemon makes", OptDefault))
	}
	if o.Name != "" && !ValidInterface(o.Name) {
		r.fail(invalid("network option %s: %q cannot be the name of a bridge (1 to 15 characters, no blank, slash, colon or percent sign)", OptName, o.Name))
	}
	if o.IfPrefix != "" && (len(o.IfPrefix) > maxIfPrefix || !ValidInterface(o.IfPrefix)) {
		r.fail(invalid("network option %s: %q cannot start an interface's name", optIfPrefix, o.IfPrefix))
	}
	if (o.Mode4 == Isolated || o.Mode6 == Isolated) && !n.Internal {
		r.fail(invalid("gateway mode isolated is for internal networks (add --internal)"))
	}
	return o, r.rest()
}

// WireOptions are the options of a macvlan or ipvlan network.
type WireOptions struct {
	Parent string // "" = a link that leads nowhere
	MTU    int
	Mode   uint32 // of macvlan
	// IPvlan says that it is one; these are its mode and its flag.
	IPvlan           bool
	IPMode, IPVFlags uint16
}

// Wire reads the options of a macvlan or ipvlan network.
func (n *Network) Wire() (*WireOptions, error) {
	r := &reader{options: n.Options, read: map[string]bool{}}
	o := &WireOptions{Parent: r.text(parentOption), MTU: r.mtu(n.IPv6), IPvlan: n.Driver == IPvlan}
	known := "parent, macvlan_mode"
	if o.IPvlan {
		known = "parent, ipvlan_mode, ipvlan_flag"
		o.IPMode = number(r, "ipvlan_mode", netlink.IPvlanMode, "l2, l3 or l3s")
		o.IPVFlags = number(r, "ipvlan_flag", netlink.IPvlanFlag, "bridge, private or vepa")
	} else {
		o.Mode = number(r, "macvlan_mode", netlink.MacvlanMode, "bridge, private, vepa or passthru")
	}
	switch {
	case o.Parent == "lo":
		r.fail(invalid("network option parent: the loopback interface cannot carry such a network"))
	case o.Parent != "" && !ValidInterface(o.Parent):
		r.fail(invalid("network option parent: %q cannot be the name of an interface", o.Parent))
	}
	for key := range n.Options {
		if !r.read[key] && !strings.HasPrefix(key, prefix) {
			r.fail(invalid("network option %s is not known for the driver %s (%s)", key, n.Driver, known))
		}
	}
	return o, r.rest()
}

// number reads an option whose values are names of numbers.
func number[N any](r *reader, key string, of func(string) (N, bool), names string) N {
	text := r.text(key)
	v, ok := of(text)
	if !ok {
		r.fail(invalid("network option %s: unknown mode %q (%s)", key, text, names))
	}
	return v
}

// ValidInterface tells whether the kernel takes the name for a device.
func ValidInterface(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) < unix.IFNAMSIZ &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == '%' || r > '~' })
}
