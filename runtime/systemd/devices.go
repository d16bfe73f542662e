package systemd

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/runtime/cgroup"
)

// deviceEntry is one entry of DeviceAllow.
type deviceEntry struct{ node, access string }

// devices tells systemd the same rules that the group's own filter has. Both must allow
// (on v2 each has its own program), and on v1 systemd would otherwise put back its
// own list when it reads its units again. A list of what is denied has no form
// in systemd: then it is told nothing, and the group's own filter stands alone.
func devices(rules []specs.LinuxDeviceCgroup) ([]prop, error) {
	allow, list, err := cgroup.DeviceExceptions(rules)
	if err != nil {
		return nil, err
	}
	if allow {
		return []prop{{"DevicePolicy", textValue("auto")}, {"DeviceAllow", deviceValue(nil)}}, nil
	}
	entries := make(deviceValue, 0, len(list))
	for _, d := range list {
		kind := "char"
		if d.Type == 'b' {
			kind = "block"
		}
		node := "/dev/" + kind + "/" + strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10)
		switch {
		case d.Major < 0 && d.Minor >= 0:
			// One minor number of each driver cannot be said.
			return []prop{{"DevicePolicy", textValue("auto")}, {"DeviceAllow", deviceValue(nil)}}, nil
		case d.Major < 0:
			node = kind + "-*"
		case d.Minor < 0:
			node = kind + "-" + strconv.FormatInt(d.Major, 10)
		}
		entries = append(entries, deviceEntry{node, d.Access})
	}
	return []prop{{"DevicePolicy", textValue("strict")}, {"DeviceAllow", entries}}, nil
}
