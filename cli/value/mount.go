package value

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/mount"
)

// Mounts collects --mount.
type Mounts struct{ Values []mount.Mount }

// Set implements pflag.Value.
func (m *Mounts) Set(v string) error {
	parsed, err := Mount(v)
	if err != nil {
		return err
	}
	m.Values = append(m.Values, parsed)
	return nil
}

func (m *Mounts) String() string {
	var out []string
	for _, v := range m.Values {
		out = append(out, fmt.Sprintf("%s %s %s", v.Type, v.Source, v.Target))
	}
	return strings.Join(out, ", ")
}

// Type implements pflag.Value.
func (*Mounts) Type() string { return "mount" }

// mountKey applies one key=value to a mount. Keys are data, so that the list
// of them is one table.
type mountKey func(m *mount.Mount, key, val string) error

func mountKeys() map[string]mountKey {
	source := func(m *mount.Mount, _, val string) error {
		m.Source = val
		if val == "." || strings.HasPrefix(val, "."+string(filepath.Separator)) || strings.HasPrefix(val, "..") {
			if abs, err := filepath.Abs(val); err == nil {
				m.Source = abs
			}
		}
		return nil
	}
	target := func(m *mount.Mount, _, val string) error { m.Target = val; return nil }
	readonly := func(m *mount.Mount, key, val string) (err error) {
		m.ReadOnly, err = mountBool(key, val)
		return err
	}
	return map[string]mountKey{
		"type":   func(m *mount.Mount, _, val string) error { m.Type = mount.Type(strings.ToLower(val)); return nil },
		"source": source, "src": source,
		"target": target, "dst": target, "destination": target,
		"readonly": readonly, "ro": readonly,
		"consistency": func(m *mount.Mount, _, val string) error {
			m.Consistency = mount.Consistency(strings.ToLower(val))
			return nil
		},
		"bind-propagation": func(m *mount.Mount, _, val string) error {
			bindOptions(m).Propagation = mount.Propagation(strings.ToLower(val))
			return nil
		},
		"bind-nonrecursive": func(m *mount.Mount, key, val string) (err error) {
			bindOptions(m).NonRecursive, err = mountBool(key, val)
			return err
		},
		"bind-recursive": bindRecursive,
		"bind-create-src": func(m *mount.Mount, key, val string) (err error) {
			bindOptions(m).CreateMountpoint, err = mountBool(key, val)
			return err
		},
		"volume-subpath": func(m *mount.Mount, _, val string) error { volumeOptions(m).Subpath = val; return nil },
		"volume-nocopy": func(m *mount.Mount, key, val string) (err error) {
			volumeOptions(m).NoCopy, err = mountBool(key, val)
			return err
		},
		"volume-label": func(m *mount.Mount, _, val string) error {
			o := volumeOptions(m)
			o.Labels = setKeyValue(o.Labels, val)
			return nil
		},
		"volume-driver": func(m *mount.Mount, _, val string) error { volumeDriver(m).Name = val; return nil },
		"volume-opt": func(m *mount.Mount, _, val string) error {
			d := volumeDriver(m)
			d.Options = setKeyValue(d.Options, val)
			return nil
		},
		"image-subpath": func(m *mount.Mount, _, val string) error {
			if m.ImageOptions == nil {
				m.ImageOptions = &mount.ImageOptions{}
			}
			m.ImageOptions.Subpath = val
			return nil
		},
		"tmpfs-size": func(m *mount.Mount, key, val string) error {
			size, err := units.RAMInBytes(val)
			if err != nil {
				return fmt.Errorf("invalid value for %s: %s", key, val)
			}
			tmpfsOptions(m).SizeBytes = size
			return nil
		},
		"tmpfs-mode": func(m *mount.Mount, key, val string) error {
			mode, err := strconv.ParseUint(val, 8, 32)
			if err != nil {
				return fmt.Errorf("invalid value for %s: %s", key, val)
			}
			tmpfsOptions(m).Mode = os.FileMode(mode)
			return nil
		},
	}
}

// Mount parses one --mount value.
func Mount(v string) (mount.Mount, error) {
	var m mount.Mount
	fields, err := csvFields(strings.TrimSpace(v))
	if err != nil {
		return m, err
	}
	keys := mountKeys()
	for _, field := range fields {
		key, val, hasValue := strings.Cut(field, "=")
		key = strings.ToLower(key)
		if !hasValue {
			switch key {
			case "readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src":
				val = "true"
			default:
				return m, fmt.Errorf("invalid field '%s' must be a key=value pair", field)
			}
		}
		apply, ok := keys[key]
		if !ok {
			return m, fmt.Errorf("unexpected key '%s' in '%s'", key, field)
		}
		if err := apply(&m, key, val); err != nil {
			return m, err
		}
	}
	if m.Type == "" {
		m.Type = mount.TypeVolume
	}
	return m, checkMount(&m)
}

func checkMount(m *mount.Mount) error {
	if m.Target == "" {
		return errors.New("target is required")
	}
	for _, group := range []struct {
		set  bool
		name string
		of   mount.Type
	}{
		{m.VolumeOptions != nil, "volume", mount.TypeVolume},
		{m.BindOptions != nil, "bind", mount.TypeBind},
		{m.ImageOptions != nil, "image", mount.TypeImage},
		{m.TmpfsOptions != nil, "tmpfs", mount.TypeTmpfs},
	} {
		if group.set && m.Type != group.of {
			return fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", group.name, m.Type)
		}
	}
	b := m.BindOptions
	if b == nil {
		return nil
	}
	if b.ReadOnlyNonRecursive && !m.ReadOnly {
		return errors.New("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
	}
	if b.ReadOnlyForceRecursive {
		if !m.ReadOnly {
			return errors.New("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
		}
		if b.Propagation != mount.PropagationRPrivate {
			return errors.New("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
		}
	}
	return nil
}

func bindRecursive(m *mount.Mount, key, val string) error {
	o := bindOptions(m)
	switch val {
	case "enabled": // the default: recursive, and read-only recursively where the kernel can
	case "disabled":
		o.NonRecursive = true
	case "writable":
		o.ReadOnlyNonRecursive = true
	case "readonly":
		o.ReadOnlyForceRecursive = true
	default:
		return fmt.Errorf("invalid value for %s: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", key, val)
	}
	return nil
}

func mountBool(key, val string) (bool, error) {
	b, err := strconv.ParseBool(val)
	if err != nil {
		return false, fmt.Errorf("invalid value for %s: %s", key, val)
	}
	return b, nil
}

func bindOptions(m *mount.Mount) *mount.BindOptions {
	if m.BindOptions == nil {
		m.BindOptions = &mount.BindOptions{}
	}
	return m.BindOptions
}

func volumeOptions(m *mount.Mount) *mount.VolumeOptions {
	if m.VolumeOptions == nil {
		m.VolumeOptions = &mount.VolumeOptions{}
	}
	return m.VolumeOptions
}

func volumeDriver(m *mount.Mount) *mount.Driver {
	o := volumeOptions(m)
	if o.DriverConfig == nil {
		o.DriverConfig = &mount.Driver{}
	}
	return o.DriverConfig
}

func tmpfsOptions(m *mount.Mount) *mount.TmpfsOptions {
	if m.TmpfsOptions == nil {
		m.TmpfsOptions = &mount.TmpfsOptions{}
	}
	return m.TmpfsOptions
}

func setKeyValue(m map[string]string, v string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	key, val, _ := strings.Cut(v, "=")
	m[key] = val
	return m
}
