package ocispec

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// Security is what --security-opt asks for.
type Security struct {
	// Seccomp is the JSON of a profile, "unconfined", or empty for the default.
	Seccomp         string
	NoNewPrivileges *bool
	// MaskedPathsOff is systempaths=unconfined, which clients turn into empty
	// path lists themselves; it is accepted for hand-made requests.
	MaskedPathsOff bool
}

// ParseSecurityOpts reads the values of --security-opt. Labels and AppArmor
// profiles are refused unless they ask for nothing, or the kernel knows none:
// there they mean nothing in Docker either, and the create says so.
func ParseSecurityOpts(opts []string) (Security, error) {
	var s Security
	for _, o := range opts {
		if o == "no-new-privileges" {
			s.NoNewPrivileges = new(true)
			continue
		}
		key, value, ok := strings.Cut(o, "=")
		if !ok {
			key, value, ok = strings.Cut(o, ":") // the old form
		}
		if !ok {
			return s, fault.New(fault.Invalid, "invalid --security-opt 1: %q", o)
		}
		switch key {
		case "seccomp":
			s.Seccomp = value
		case "no-new-privileges":
			on, err := strconv.ParseBool(value)
			if err != nil {
				return s, fault.New(fault.Invalid, "invalid --security-opt 2: %q", o)
			}
			s.NoNewPrivileges = &on
		case "apparmor":
			if value != "unconfined" && value != "" && HasAppArmor() {
				return s, fault.New(fault.NotImplemented, "security option %q: AppArmor profiles are not supported yet (use apparmor=unconfined)", o)
			}
		case "label":
			if value != "disable" && HasSELinux() {
				return s, fault.New(fault.NotImplemented, "security option %q: SELinux labels are not supported yet (use label=disable)", o)
			}
		case "systempaths":
			if value != "unconfined" {
				return s, fault.New(fault.Invalid, "invalid --security-opt 2: %q", o)
			}
			s.MaskedPathsOff = true
		default:
			return s, fault.New(fault.Invalid, "invalid --security-opt 2: %q", o)
		}
	}
	return s, nil
}

// HasAppArmor tells whether the kernel would look at a profile.
func HasAppArmor() bool {
	raw, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(raw), "Y")
}

// HasSELinux tells whether the kernel would look at a label.
func HasSELinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// DefaultMaskedPaths are the paths a container sees empty.
func DefaultMaskedPaths() []string {
	paths := []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux",
	}
	for i := range cpuCount() {
		// Absent on most virtual machines; each path named costs a look-up at every start.
		p := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/thermal_throttle", i)
		if _, err := os.Stat(p); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// DefaultReadonlyPaths are the paths a container may read but not write.
func DefaultReadonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
