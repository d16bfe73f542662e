package value

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
)

// Attachment is one --network: a name, or name=NET,alias=… in the long form.
type Attachment struct {
	Target       string
	Aliases      []string
	Links        []string
	DriverOpts   map[string]string
	IPv4, IPv6   netip.Addr
	LinkLocalIPs []netip.Addr
	MAC          network.HardwareAddr
	GwPriority   int
}

// Networks collects --network.
type Networks struct{ Values []Attachment }

// Set implements pflag.Value.
func (n *Networks) Set(v string) error {
	a := Attachment{Target: v}
	if strings.Contains(v, "=") {
		var err error
		if a, err = longAttachment(v); err != nil {
			return err
		}
	}
	n.Values = append(n.Values, a)
	return nil
}

func longAttachment(v string) (a Attachment, err error) {
	fields, err := csvFields(v)
	if err != nil {
		return a, err
	}
	for _, field := range fields {
		key, val, ok := strings.Cut(strings.ToLower(field), "=")
		if !ok || key == "" {
			return a, fmt.Errorf("invalid network config: invalid field %s", field)
		}
		key, val = strings.TrimSpace(key), strings.TrimSpace(val)
		switch key {
		case "name":
			a.Target = val
		case "alias":
			a.Aliases = append(a.Aliases, val)
		case "driver-opt":
			// Values of driver options keep their case.
			_, raw, _ := strings.Cut(field, "=")
			a.DriverOpts = setKeyValue(a.DriverOpts, raw)
			if !strings.Contains(raw, "=") {
				return a, fmt.Errorf("invalid key value pair format in driver options")
			}
		case "ip":
			a.IPv4, err = netip.ParseAddr(val)
		case "ip6":
			a.IPv6, err = netip.ParseAddr(val)
		case "link-local-ip":
			var addr netip.Addr
			if addr, err = netip.ParseAddr(val); err == nil {
				a.LinkLocalIPs = append(a.LinkLocalIPs, addr)
			}
		case "mac-address":
			a.MAC, err = MAC(val)
		case "gw-priority":
			if a.GwPriority, err = strconv.Atoi(val); err != nil {
				err = fmt.Errorf("invalid gw-priority (%s): it must be an integer", val)
			}
		default:
			return a, fmt.Errorf("invalid field key %s", key)
		}
		if err != nil {
			return a, err
		}
	}
	if a.Target == "" {
		return a, fmt.Errorf("network name/id is not specified")
	}
	return a, nil
}

func (n *Networks) String() string { return "" }

// Type implements pflag.Value.
func (*Networks) Type() string { return "network" }

// MAC parses a hardware address; the empty string is none.
func MAC(v string) (network.HardwareAddr, error) {
	if v == "" {
		return nil, nil
	}
	hw, err := net.ParseMAC(strings.TrimSpace(v))
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid mac address", v)
	}
	return network.HardwareAddr(hw), nil
}

// Endpoint turns the attachment into the API's form.
func (a Attachment) Endpoint() *network.EndpointSettings {
	e := &network.EndpointSettings{
		Aliases: a.Aliases, Links: a.Links, DriverOpts: a.DriverOpts, MacAddress: a.MAC, GwPriority: a.GwPriority,
	}
	if a.IPv4.IsValid() || a.IPv6.IsValid() || len(a.LinkLocalIPs) > 0 {
		e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: a.IPv4, IPv6Address: a.IPv6, LinkLocalIPs: a.LinkLocalIPs}
	}
	return e
}

// CheckIP checks and normalises an address.
func CheckIP(v string) (string, error) {
	addr, err := netip.ParseAddr(strings.TrimSpace(v))
	if err != nil {
		return "", fmt.Errorf("IP address is not correctly formatted: %s", v)
	}
	return addr.String(), nil
}

// CheckDomain is the check of --dns-search; "." alone means no search list.
func CheckDomain(v string) (string, error) {
	v = strings.TrimSpace(v)
	if v == "." {
		return v, nil
	}
	name := strings.TrimSuffix(v, ".")
	if name == "" || len(name) > 255 {
		return "", fmt.Errorf("%s is not a valid domain", v)
	}
	letters := false
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("%s is not a valid domain", v)
		}
		for _, c := range label {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
				letters = true
			case c >= '0' && c <= '9', c == '-':
			default:
				return "", fmt.Errorf("%s is not a valid domain", v)
			}
		}
	}
	if !letters {
		return "", fmt.Errorf("%s is not a valid domain", v)
	}
	return name, nil
}

// hostGateway is replaced by the daemon with the host's address on the bridge.
const hostGateway = "host-gateway"

// CheckExtraHost is the check of --add-host HOST:IP or HOST=IP; the result
// always has the first form.
func CheckExtraHost(v string) (string, error) {
	name, ip, ok := strings.Cut(v, "=")
	if !ok {
		name, ip, ok = strings.Cut(v, ":")
	}
	if !ok || name == "" {
		return "", fmt.Errorf("bad format for add-host: %q", v)
	}
	if len(ip) > 2 && ip[0] == '[' && ip[len(ip)-1] == ']' {
		ip = ip[1 : len(ip)-1]
	}
	if ip != hostGateway {
		checked, err := CheckIP(ip)
		if err != nil {
			return "", fmt.Errorf("invalid IP address in add-host: %q", ip)
		}
		ip = checked
	}
	return name + ":" + ip, nil
}

// CheckLink is the check of --link NAME[:ALIAS].
func CheckLink(v string) (string, error) {
	if v == "" {
		return "", fmt.Errorf("empty string specified for links")
	}
	if strings.Count(v, ":") > 1 {
		return "", fmt.Errorf("bad format for links: %s", v)
	}
	return v, nil
}
