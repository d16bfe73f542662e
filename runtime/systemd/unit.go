package systemd

import (
	"path"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

const (
	scopeSuffix = ".scope"
	sliceSuffix = ".slice"
	// defaultSlice is where runc and dockerd put containers; a user's manager has
	// another.
	defaultSlice     = "system.slice"
	defaultUserSlice = "user.slice"
	// maxUnitName is systemd's UNIT_NAME_MAX.
	maxUnitName = 255
)

// Name is a container's unit, and the slice it lies in. In a specification's
// linux.cgroupsPath it is written slice:prefix:name.
type Name struct {
	Slice string // "" is the default: system.slice
	Unit  string // "prefix-name.scope"
}

// IsName reports whether a cgroupsPath is in systemd's form.
func IsName(cgroupsPath string) bool {
	return strings.Count(cgroupsPath, ":") == 2 && !strings.Contains(cgroupsPath, "/")
}

// ParseName reads slice:prefix:name. An empty path means what runc takes: the default
// slice, the prefix "sampan" and the container's id.
func ParseName(cgroupsPath, id string) (Name, error) {
	if cgroupsPath == "" {
		cgroupsPath = ":sampan:" + id
	}
	if !IsName(cgroupsPath) {
		return Name{}, fault.New(fault.Invalid, "linux.cgroupsPath %.200q is not of the form slice:prefix:name, which the systemd cgroup driver wants (such as system.slice:sampan:NAME)", cgroupsPath)
	}
	f := strings.Split(cgroupsPath, ":")
	n := Name{Slice: f[0], Unit: f[2]}
	if strings.HasSuffix(n.Unit, sliceSuffix) {
		return Name{}, fault.New(fault.NotImplemented, "linux.cgroupsPath %.200q names a slice as the container's unit; only scopes are made", cgroupsPath)
	}
	if f[1] != "" {
		n.Unit = f[1] + "-" + n.Unit
	}
	n.Unit += scopeSuffix
	return n, n.check()
}

func (n Name) check() error {
	if _, err := slicePath(n.Slice); err != nil {
		return err
	}
	ok := len(n.Unit) <= maxUnitName && n.Unit != scopeSuffix
	for i := 0; ok && i < len(n.Unit); i++ {
		ok = unitByte(n.Unit[i])
	}
	if !ok {
		return fault.New(fault.Invalid, "%.300q cannot be the name of a systemd unit: up to %d letters, digits and : - _ . \\ @", n.Unit, maxUnitName)
	}
	return nil
}

// unitByte: systemd.unit(5).
func unitByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(`:-_.\@`, c) >= 0
}

// slice returns the slice with its default.
func (n Name) slice(user bool) string {
	switch {
	case n.Slice != "":
		return n.Slice
	case user:
		return defaultUserSlice
	}
	return defaultSlice
}

// Path is the unit's group below the manager's own: "a-b.slice" lies in "a.slice".
func (n Name) Path() string { return n.path("/", false) }

func (n Name) path(root string, user bool) string {
	below, _ := slicePath(n.slice(user)) // checked before
	return path.Join(root, below, n.Unit)
}

// GroupPath is where the group of a cgroupsPath lies, which may be in systemd's form.
func GroupPath(cgroupsPath string) string {
	if !IsName(cgroupsPath) {
		return cgroupsPath
	}
	n, err := ParseName(cgroupsPath, "")
	if err != nil {
		return cgroupsPath // which is nowhere
	}
	return n.Path()
}

// CheckSlice refuses what is not the name of a slice.
func CheckSlice(name string) error {
	_, err := slicePath(name)
	return err
}

func slicePath(name string) (string, error) {
	wrong := fault.New(fault.Invalid, "%.200q is not the name of a systemd slice, such as machine.slice or machine-sampan.slice", name)
	if name == "" || name == "-.slice" {
		return "", nil
	}
	stem, ok := strings.CutSuffix(name, sliceSuffix)
	if !ok || stem == "" || len(name) > maxUnitName {
		return "", wrong
	}
	at, whole := "", ""
	for part := range strings.SplitSeq(stem, "-") {
		if part == "" || part == "." || part == ".." {
			return "", wrong // also what systemd refuses: two dashes, one at an end
		}
		for i := range len(part) {
			if !unitByte(part[i]) {
				return "", wrong
			}
		}
		whole += part
		at += "/" + whole + sliceSuffix
		whole += "-"
	}
	return at, nil
}

// UnitOf returns the unit that a group's path belongs to, for those made here.
func UnitOf(group string) string {
	if base := path.Base(group); strings.HasSuffix(base, scopeSuffix) {
		return base
	}
	return ""
}
