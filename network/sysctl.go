package network

import (
	"strings"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/network/settings"
)

// interfaceSysctls reads the settings of one interface, as
// net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2. Each must
// name the interface by IFNAME and belong to it alone.
func interfaceSysctls(name string, options map[string]string) ([]string, error) {
	text := options[settings.OptSysctls]
	if text == "" {
		return nil, nil
	}
	var out []string
	for _, kv := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(kv, "=")
		parts := strings.Split(key, ".")
		valid := ok && len(parts) == 5 && parts[0] == "net" && (parts[1] == "ipv4" || parts[1] == "ipv6" || parts[1] == "mpls") &&
			(parts[2] == "conf" || parts[2] == "neigh") && parts[3] == "IFNAME" && parts[4] != ""
		for _, c := range key + value {
			valid = valid && c > ' ' && c < 0x7f && c != '/'
		}
		if !valid {
			return nil, fault.New(fault.Invalid, "%s: %q is not a setting of an interface such as net.ipv4.conf.IFNAME.log_martians=1", settings.OptSysctls, kv)
		}
		parts[3] = name
		out = append(out, strings.Join(parts, "/")+"="+value)
	}
	return out, nil
}
