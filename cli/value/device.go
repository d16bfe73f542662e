package value

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
)

const defaultDevicePermissions = "rwm"

// Device parses HOST[:CONTAINER][:PERMISSIONS].
func Device(spec string) (container.DeviceMapping, error) {
	parts := strings.Split(spec, ":")
	d := container.DeviceMapping{PathOnHost: parts[0], CgroupPermissions: defaultDevicePermissions}
	switch len(parts) {
	case 1:
	case 2:
		if deviceMode(parts[1]) {
			d.CgroupPermissions = parts[1]
		} else {
			d.PathInContainer = parts[1]
		}
	case 3:
		if parts[1] != "" && deviceMode(parts[1]) {
			d.CgroupPermissions = parts[1]
		} else {
			d.PathInContainer = parts[1]
		}
		d.CgroupPermissions = parts[2]
	default:
		return d, fmt.Errorf("invalid device specification: %s", spec)
	}
	if d.PathInContainer == "" {
		d.PathInContainer = d.PathOnHost
	}
	return d, nil
}

func deviceMode(mode string) bool {
	if mode == "" {
		return false
	}
	seen := map[rune]bool{}
	for _, c := range mode {
		if !strings.ContainsRune("rwm", c) || seen[c] {
			return false
		}
		seen[c] = true
	}
	return true
}

// CheckDevice is the check of --device.
func CheckDevice(spec string) (string, error) {
	if IsCDI(spec) {
		return spec, nil
	}
	parts := strings.Split(spec, ":")
	if len(parts) > 3 || spec == "" {
		return "", fmt.Errorf("bad format for path: %s", spec)
	}
	if len(parts) == 3 && !deviceMode(parts[2]) {
		return "", fmt.Errorf("bad mode specified: %s", parts[2])
	}
	inside := parts[0]
	if len(parts) > 1 && !deviceMode(parts[1]) {
		inside = parts[1]
	}
	if !path.IsAbs(inside) {
		return "", fmt.Errorf("%s is not an absolute path", inside)
	}
	return spec, nil
}

// IsCDI tells whether the name is a Container Device Interface device such as
// vendor.com/class=name.
func IsCDI(name string) bool {
	kind, dev, ok := strings.Cut(name, "=")
	if !ok || dev == "" || strings.HasPrefix(name, "/") {
		return false
	}
	vendor, class, ok := strings.Cut(kind, "/")
	return ok && vendor != "" && class != "" && !strings.ContainsAny(kind, ": ")
}

// CheckDeviceRule is the check of --device-cgroup-rule.
func CheckDeviceRule(rule string) (string, error) {
	if isDeviceRule(rule) {
		return rule, nil
	}
	return "", fmt.Errorf("invalid device cgroup format '%s'", rule)
}

// WeightDevices collects --blkio-weight-device.
type WeightDevices struct{ Values []*blkiodev.WeightDevice }

// Set implements pflag.Value.
func (w *WeightDevices) Set(v string) error {
	dev, weight, ok := cutLast(v)
	if !ok {
		return fmt.Errorf("bad format: %s", v)
	}
	if !strings.HasPrefix(dev, "/dev/") {
		return fmt.Errorf("bad format for device path: %s", v)
	}
	n, err := strconv.ParseUint(weight, 10, 16)
	if err != nil || n > 0 && (n < 10 || n > 1000) {
		return fmt.Errorf("invalid weight for device: %s", v)
	}
	w.Values = append(w.Values, &blkiodev.WeightDevice{Path: dev, Weight: uint16(n)})
	return nil
}

func (w *WeightDevices) String() string {
	if len(w.Values) == 0 {
		return ""
	}
	return fmt.Sprintf("%v", w.Values)
}

// Type implements pflag.Value.
func (*WeightDevices) Type() string { return "list" }

// ThrottleDevices collects the bps and iops flags.
type ThrottleDevices struct {
	Values []*blkiodev.ThrottleDevice
	rate   func(string) (uint64, error)
	units  string
}

// NewThrottleBytes is for rates in bytes a second.
func NewThrottleBytes() ThrottleDevices {
	return ThrottleDevices{units: " Number must be a positive integer. Unit is optional and can be kb, mb, or gb", rate: func(s string) (uint64, error) {
		n, err := units.RAMInBytes(s)
		if err == nil && n < 0 {
			err = fmt.Errorf("negative rate")
		}
		return uint64(n), err
	}}
}

// NewThrottleOps is for rates in operations a second.
func NewThrottleOps() ThrottleDevices {
	return ThrottleDevices{units: " Number must be a positive integer", rate: parseUint}
}

// Set implements pflag.Value.
func (t *ThrottleDevices) Set(v string) error {
	dev, rate, ok := cutLast(v)
	if !ok {
		return fmt.Errorf("bad format: %s", v)
	}
	if !strings.HasPrefix(dev, "/dev/") {
		return fmt.Errorf("bad format for device path: %s", v)
	}
	n, err := t.rate(rate)
	if err != nil {
		return fmt.Errorf("invalid rate for device: %s. The correct format is <device-path>:<number>[<unit>].%s", v, t.units)
	}
	t.Values = append(t.Values, &blkiodev.ThrottleDevice{Path: dev, Rate: n})
	return nil
}

func (t *ThrottleDevices) String() string {
	if len(t.Values) == 0 {
		return ""
	}
	return fmt.Sprintf("%v", t.Values)
}

// Type implements pflag.Value.
func (*ThrottleDevices) Type() string { return "list" }

func cutLast(v string) (before, after string, ok bool) {
	before, after, ok = strings.Cut(v, ":")
	return before, after, ok && before != "" && after != ""
}

// Ulimits collects --ulimit NAME=SOFT[:HARD]; a later value replaces an
// earlier one of the same name.
type Ulimits struct{ Values []*container.Ulimit }

// Set implements pflag.Value.
func (u *Ulimits) Set(v string) error {
	limit, err := units.ParseUlimit(v)
	if err != nil {
		return err
	}
	for i, old := range u.Values {
		if old.Name == limit.Name {
			u.Values[i] = limit
			return nil
		}
	}
	u.Values = append(u.Values, limit)
	return nil
}

func (u *Ulimits) String() string {
	if len(u.Values) == 0 {
		return "[]"
	}
	return fmt.Sprintf("%v", u.Values)
}

// Type implements pflag.Value.
func (*Ulimits) Type() string { return "ulimit" }

// isDeviceRule: a, b or c, a blank, MAJOR:MINOR as numbers or "*", a blank, and one to
// three of r, w and m. A regular expression would have every command link package
// regexp, and prepare Unicode's tables for it.
func isDeviceRule(rule string) bool {
	kind, rest, _ := strings.Cut(rule, " ")
	numbers, access, _ := strings.Cut(rest, " ")
	major, minor, two := strings.Cut(numbers, ":")
	number := func(s string) bool { return s == "*" || s != "" && strings.Trim(s, "0123456789") == "" }
	return (kind == "a" || kind == "b" || kind == "c") && two && number(major) && number(minor) &&
		access != "" && len(access) <= len("rwm") && strings.Trim(access, "rwm") == ""
}
