package ocispec

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// Host answers questions about the machine's device nodes.
type Host interface {
	// Device describes the device at path. It follows links.
	Device(path string) (specs.LinuxDevice, error)
	// Devices lists every device below dir ("/dev"), without those that a
	// container has of its own (pts, shm, mqueue, console).
	Devices(dir string) ([]specs.LinuxDevice, error)
}

// maxDevices bounds what one container may bring in from a device directory.
const maxDevices = 4096

var deviceRule = regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)

// devices returns the extra device nodes and the rules of the device filter.
func devices(in *Input) ([]specs.LinuxDevice, []specs.LinuxDeviceCgroup, error) {
	if in.HostConfig.Privileged {
		all, err := in.Host.Devices("/dev")
		if err != nil {
			return nil, nil, err
		}
		return all, []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, nil
	}
	rules := defaultDeviceRules()
	var nodes []specs.LinuxDevice
	for _, m := range in.HostConfig.Devices {
		found, err := mapDevice(in.Host, m.PathOnHost, m.PathInContainer)
		if err != nil {
			return nil, nil, err
		}
		access, err := deviceAccess(m.CgroupPermissions)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range found {
			nodes = append(nodes, d)
			major, minor := d.Major, d.Minor
			rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: access})
		}
		if len(nodes) > maxDevices {
			return nil, nil, fault.New(fault.Invalid, "device %s: more than %d devices for one container", m.PathOnHost, maxDevices)
		}
	}
	for _, text := range in.HostConfig.DeviceCgroupRules {
		rule, err := ParseDeviceRule(text)
		if err != nil {
			return nil, nil, err
		}
		rules = append(rules, rule)
	}
	return nodes, rules, nil
}

func mapDevice(host Host, from, to string) ([]specs.LinuxDevice, error) {
	if to == "" {
		to = from
	}
	st, err := os.Stat(from)
	if err != nil {
		return nil, fault.New(fault.Invalid, "error gathering device information while adding custom device %q: no such file or directory", from)
	}
	if st.IsDir() {
		all, err := host.Devices(from)
		if err != nil {
			return nil, fmt.Errorf("device directory %s: %w", from, err)
		}
		if len(all) == 0 {
			return nil, fault.New(fault.Invalid, "error gathering device information while adding custom device %q: not a device node, and a directory without any", from)
		}
		for i := range all {
			all[i].Path = filepath.Join(to, strings.TrimPrefix(all[i].Path, filepath.Clean(from)))
		}
		return all, nil
	}
	d, err := host.Device(from)
	if err != nil {
		return nil, fault.New(fault.Invalid, "error gathering device information while adding custom device %q: %v", from, err)
	}
	d.Path = cleanTarget(to)
	return []specs.LinuxDevice{d}, nil
}

func deviceAccess(p string) (string, error) {
	if p == "" {
		return "rwm", nil
	}
	if strings.Trim(p, "rwm") != "" || len(p) > 3 {
		return "", fault.New(fault.Invalid, "invalid device mode: %s (use a combination of r, w and m)", p)
	}
	return p, nil
}

// ParseDeviceRule reads a rule such as "c 13:* rwm".
func ParseDeviceRule(text string) (specs.LinuxDeviceCgroup, error) {
	m := deviceRule.FindStringSubmatch(text)
	if m == nil {
		return specs.LinuxDeviceCgroup{}, fault.New(fault.Invalid, "invalid device cgroup rule format: '%s'", text)
	}
	rule := specs.LinuxDeviceCgroup{Allow: true, Type: m[1], Access: m[4]}
	for i, field := range []**int64{&rule.Major, &rule.Minor} {
		if m[2+i] == "*" {
			continue
		}
		n, err := strconv.ParseInt(m[2+i], 10, 32)
		if err != nil {
			return rule, fault.New(fault.Invalid, "invalid device cgroup rule '%s': the number %s is too large", text, m[2+i])
		}
		*field = &n
	}
	return rule, nil
}

// defaultDeviceRules denies everything, then allows what every container has.
// Making nodes is allowed: opening one that is not listed still fails.
func defaultDeviceRules() []specs.LinuxDeviceCgroup {
	allow := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		r := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
		if major >= 0 {
			r.Major = &major
		}
		if minor >= 0 {
			r.Minor = &minor
		}
		return r
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		allow("c", -1, -1, "m"), allow("b", -1, -1, "m"),
		allow("c", 1, 3, "rwm"), allow("c", 1, 5, "rwm"), allow("c", 1, 7, "rwm"), allow("c", 1, 8, "rwm"), allow("c", 1, 9, "rwm"),
		allow("c", 5, 0, "rwm"), allow("c", 5, 1, "rwm"), allow("c", 5, 2, "rwm"), allow("c", 136, -1, "rwm"),
	}
}

// LocalHost is the machine the daemon runs on.
type LocalHost struct{}

// Device describes the node at path.
func (LocalHost) Device(path string) (specs.LinuxDevice, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return specs.LinuxDevice{}, err
	}
	kind := ""
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		kind = "c"
	case unix.S_IFBLK:
		kind = "b"
	default:
		return specs.LinuxDevice{}, fmt.Errorf("not a device node")
	}
	mode := os.FileMode(st.Mode & 0o7777)
	uid, gid := st.Uid, st.Gid
	return specs.LinuxDevice{
		Path: path, Type: kind, FileMode: &mode, UID: &uid, GID: &gid,
		Major: int64(unix.Major(uint64(st.Rdev))), Minor: int64(unix.Minor(uint64(st.Rdev))),
	}, nil
}

// Devices walks dir.
func (h LocalHost) Devices(dir string) ([]specs.LinuxDevice, error) {
	var out []specs.LinuxDevice
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) && path != dir {
				return nil // unplugged meanwhile
			}
			return err
		}
		if e.IsDir() {
			switch e.Name() {
			case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
				return fs.SkipDir
			}
			return nil
		}
		if e.Name() == "console" || e.Name() == "ptmx" || e.Type()&fs.ModeDevice == 0 {
			return nil
		}
		d, err := h.Device(path)
		if err != nil {
			return nil
		}
		if out = append(out, d); len(out) > maxDevices {
			return fmt.Errorf("more than %d devices below %s", maxDevices, dir)
		}
		return nil
	})
	return out, err
}
