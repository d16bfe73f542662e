// Package mounts reads what users write about mounts (-v, --mount, --tmpfs,
// --volumes-from, VOLUME) into one form. It touches nothing on disk; every
// refusal is fault.Invalid or fault.NotImplemented, in Docker's words.
package mounts

import (
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/volume"
)

// Mount is a mount the user or the image asked for, resolved.
type Mount struct {
	Type         mount.Type
	Name         string `json:",omitempty"` // of a volume
	Anonymous    bool   `json:",omitempty"` // the volume was made for this container
	Source       string // on the host
	Destination  string
	Mode         string            `json:",omitempty"` // as the user wrote it
	ReadOnly     bool              `json:",omitempty"`
	Propagation  mount.Propagation `json:",omitempty"`
	NonRecursive bool              `json:",omitempty"`
	// ShallowReadOnly leaves mounts below a read-only bind writable.
	ShallowReadOnly bool     `json:",omitempty"`
	Options         []string `json:",omitempty"` // of a tmpfs
	// FromMounts tells that it came from HostConfig.Mounts, not Binds or Tmpfs.
	FromMounts bool `json:",omitempty"`
	// Layers are those of an image, top first; Name is then what the image was asked
	// for by, and Source its ID.
	Layers []string `json:",omitempty"`
	// Subpath is the directory of the volume or image that is mounted.
	Subpath string `json:",omitempty"`
	// NoCopy leaves a new volume empty. Labels and VolumeOptions are a new one's.
	NoCopy        bool              `json:"-"`
	Labels        map[string]string `json:"-"`
	VolumeOptions map[string]string `json:"-"`
}

// volumeMode is what Docker reports for a volume that was asked for without a
// mode, but neither for those of an image nor for those of --volumes-from.
const volumeMode = "z"

// ParseBind reads one value of -v: src:dst[:options], or dst alone for a volume
// without a name. src is a host path or a volume's name.
func ParseBind(text string) (Mount, error) {
	parts := strings.Split(text, ":")
	var m Mount
	switch len(parts) {
	case 1:
		m = Mount{Type: mount.TypeVolume, Destination: parts[0], Anonymous: true}
	case 2, 3:
		m = Mount{Source: parts[0], Destination: parts[1]}
		if len(parts) == 3 {
			m.Mode = parts[2]
		}
	default:
		return m, invalid("invalid volume specification: '%s'", text)
	}
	if len(parts) > 1 {
		switch {
		case m.Source == "" || m.Destination == "":
			return m, invalid("invalid volume specification: '%s'", text)
		case path.IsAbs(m.Source):
			m.Type, m.Source = mount.TypeBind, path.Clean(m.Source)
		default:
			m.Type, m.Name, m.Source = mount.TypeVolume, m.Source, ""
			if err := volume.CheckName(m.Name); err != nil {
				return m, err
			}
		}
	}
	if err := checkTarget(text, &m); err != nil {
		return m, err
	}
	if err := parseMode(&m); err != nil {
		return m, err
	}
	if m.Name != "" && m.Mode == "" {
		m.Mode = volumeMode
	}
	return m, nil
}

func checkTarget(text string, m *Mount) error {
	if !path.IsAbs(m.Destination) {
		return invalid("invalid volume specification: '%s': invalid mount path: '%s' mount path must be absolute", text, m.Destination)
	}
	m.Destination = path.Clean(m.Destination)
	if m.Destination == "/" {
		return invalid("invalid volume specification: '%s': invalid specification: destination can't be '/'", text)
	}
	return checkText(m.Source, m.Destination)
}

// parseMode reads the comma-separated options of -v. The SELinux ones (z, Z) and
// those for other systems (consistency) change nothing on this one.
func parseMode(m *Mount) error {
	if m.Mode == "" {
		return nil
	}
	seen := map[string]bool{}
	group := func(name string) error {
		if seen[name] {
			return invalid("invalid mode: %s", m.Mode)
		}
		seen[name] = true
		return nil
	}
	for _, o := range strings.Split(m.Mode, ",") {
		var err error
		switch o {
		case "rw", "ro":
			err = group("access")
			m.ReadOnly = o == "ro"
		case "z", "Z":
			err = group("label")
		case "consistent", "cached", "delegated":
			err = group("consistency")
		case "nocopy":
			err = group("copy")
			m.NoCopy = true
			if m.Type == mount.TypeBind {
				return invalid(`invalid mode: %s: invalid mount config for type "bind": field VolumeOptions must not be specified`, m.Mode)
			}
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			err = group("propagation")
			m.Propagation = mount.Propagation(o)
			if m.Type != mount.TypeBind {
				return invalid(`invalid mode: %s: invalid mount config for type "volume": field BindOptions must not be specified`, m.Mode)
			}
		default:
			return invalid("invalid mode: %s", m.Mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ParseTmpfs reads one --tmpfs.
func ParseTmpfs(target, options string) (Mount, error) {
	m := Mount{Type: mount.TypeTmpfs, Destination: target}
	if err := checkTarget(target, &m); err != nil {
		return m, err
	}
	if options == "" {
		return m, nil
	}
	for _, o := range strings.Split(options, ",") {
		if err := checkTmpfsOption(o); err != nil {
			return m, err
		}
		m.Options = append(m.Options, o)
	}
	return m, nil
}

func checkTmpfsOption(o string) error {
	key, _, hasValue := strings.Cut(o, "=")
	flags := []string{"exec", "noexec", "dev", "nodev", "suid", "nosuid", "ro", "rw", "sync", "async", "dirsync", "remount",
		"mand", "nomand", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "bind", "rbind",
		"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"}
	values := []string{"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}
	if !hasValue && slices.Contains(flags, o) || hasValue && slices.Contains(values, key) {
		return nil
	}
	return invalid("invalid tmpfs option [%q]", o)
}

// ParseMount reads one --mount.
func ParseMount(in mount.Mount) (Mount, error) {
	bad := func(format string, args ...any) (Mount, error) {
		return Mount{}, invalid(`invalid mount config for type "`+string(in.Type)+`": `+format, args...)
	}
	if in.Target == "" {
		return bad("field Target must not be empty")
	}
	if !path.IsAbs(in.Target) {
		return bad("invalid mount path: '%s' mount path must be absolute", in.Target)
	}
	m := Mount{Type: in.Type, Destination: path.Clean(in.Target), ReadOnly: in.ReadOnly, FromMounts: true}
	if m.Destination == "/" {
		return bad("invalid specification: destination can't be '/'")
	}
	if err := checkText(in.Source, in.Target); err != nil {
		return m, err
	}
	switch in.Type {
	case mount.TypeBind:
		if in.VolumeOptions != nil || in.TmpfsOptions != nil {
			return bad("only bind options may be given")
		}
		if in.Source == "" {
			return bad("field Source must not be empty")
		}
		if !path.IsAbs(in.Source) {
			return bad("invalid mount path: '%s' mount path must be absolute", in.Source)
		}
		m.Source = path.Clean(in.Source)
		return bindOptions(m, in.BindOptions)
	case mount.TypeVolume:
		return volumeOptions(m, in)
	case mount.TypeTmpfs:
		return tmpfsOptions(m, in)
	case mount.TypeImage:
		return imageOptions(m, in)
	case mount.TypeNamedPipe, mount.TypeCluster:
		return m, notYet("mounts of type %s are not available", in.Type)
	}
	return bad("mount type unknown: %q", in.Type)
}

func bindOptions(m Mount, o *mount.BindOptions) (Mount, error) {
	if o == nil {
		return m, nil
	}
	if o.Propagation != "" && !slices.Contains(mount.Propagations, o.Propagation) {
		return m, invalid(`invalid mount config for type "bind": invalid propagation mode: %s`, o.Propagation)
	}
	if o.ReadOnlyForceRecursive && (!m.ReadOnly || o.ReadOnlyNonRecursive || o.NonRecursive) {
		return m, invalid(`invalid mount config for type "bind": mode "ReadOnlyForceRecursive" needs a read-only, recursive mount`)
	}
	m.Propagation, m.NonRecursive, m.ShallowReadOnly = o.Propagation, o.NonRecursive, o.ReadOnlyNonRecursive
	return m, nil
}

func volumeOptions(m Mount, in mount.Mount) (Mount, error) {
	if in.BindOptions != nil || in.TmpfsOptions != nil {
		return m, invalid(`invalid mount config for type "volume": only volume options may be given`)
	}
	m.Name, m.Anonymous, m.Mode = in.Source, in.Source == "", volumeMode
	if m.Name != "" {
		if err := volume.CheckName(m.Name); err != nil {
			return m, err
		}
	}
	if o := in.VolumeOptions; o != nil {
		m.NoCopy = o.NoCopy
		if err := checkSubpath(in.Type, o.Subpath); err != nil {
			return m, err
		}
		m.Subpath, m.Labels = o.Subpath, o.Labels
		if d := o.DriverConfig; d != nil {
			if d.Name != "" && d.Name != volume.LocalDriver {
				return m, notYet("error looking up volume plugin %[1]s: plugin \"%[1]s\" not found (volume plugins are not available yet: use local)", d.Name)
			}
			m.VolumeOptions = d.Options
		}
	}
	return m, nil
}

func checkSubpath(of mount.Type, subpath string) error {
	if subpath != "" && (path.IsAbs(subpath) || !filepath.IsLocal(subpath)) {
		return invalid(`invalid mount config for type "%s": subpath must be a relative path within the %s: %q`, of, of, subpath)
	}
	return checkText(subpath)
}

// imageOptions: nobody writes to an image.
func imageOptions(m Mount, in mount.Mount) (Mount, error) {
	switch {
	case in.BindOptions != nil || in.VolumeOptions != nil || in.TmpfsOptions != nil:
		return m, invalid(`invalid mount config for type "image": only image options may be given`)
	case in.Source == "":
		return m, invalid(`invalid mount config for type "image": field Source must not be empty`)
	}
	m.Name, m.ReadOnly = in.Source, true
	if in.ImageOptions != nil {
		m.Subpath = in.ImageOptions.Subpath
	}
	return m, checkSubpath(in.Type, m.Subpath)
}

func tmpfsOptions(m Mount, in mount.Mount) (Mount, error) {
	if in.BindOptions != nil || in.VolumeOptions != nil {
		return m, invalid(`invalid mount config for type "tmpfs": only tmpfs options may be given`)
	}
	if in.Source != "" {
		return m, invalid(`invalid mount config for type "tmpfs": field Source must not be specified`)
	}
	o := in.TmpfsOptions
	if o == nil {
		return m, nil
	}
	if o.SizeBytes < 0 {
		return m, invalid(`invalid mount config for type "tmpfs": the size must not be negative`)
	}
	if o.SizeBytes > 0 {
		m.Options = append(m.Options, "size="+strconv.FormatInt(o.SizeBytes, 10))
	}
	if o.Mode != 0 {
		m.Options = append(m.Options, "mode="+strconv.FormatUint(uint64(o.Mode), 8))
	}
	for _, pair := range o.Options {
		text := strings.Join(pair, "=")
		if len(pair) == 0 || len(pair) > 2 || checkTmpfsOption(text) != nil {
			return m, invalid(`invalid mount config for type "tmpfs": invalid tmpfs option %q`, text)
		}
		m.Options = append(m.Options, text)
	}
	return m, nil
}

// Collect reads everything that asks for a mount: --volumes-from (through from),
// -v, --mount, --tmpfs, and the volumes of the image or request that nothing else
// covers. shallow leaves the mounts below read-only binds of -v writable.
func Collect(c *container.Config, hc *container.HostConfig, from func(ref string) ([]Mount, error), shallow bool) ([]Mount, error) {
	at := map[string]int{}
	var out []Mount
	var inherited int
	add := func(m Mount, err error) error {
		if err != nil {
			return err
		}
		if i, dup := at[m.Destination]; dup {
			if i >= inherited {
				return invalid("Duplicate mount point: %s", m.Destination)
			}
			out[i] = m // the request wins over --volumes-from
			return nil
		}
		at[m.Destination] = len(out)
		out = append(out, m)
		return nil
	}
	for _, text := range hc.VolumesFrom {
		others, err := inherit(text, from)
		if err != nil {
			return nil, err
		}
		inherited = len(out) + len(others) // the last one named wins, as in Docker
		for _, m := range others {
			_ = add(m, nil) // cannot fail
		}
	}
	inherited = len(out)
	for _, b := range hc.Binds {
		m, err := ParseBind(b)
		m.ShallowReadOnly = shallow && m.Type == mount.TypeBind && m.ReadOnly
		if err := add(m, err); err != nil {
			return nil, err
		}
	}
	for _, in := range hc.Mounts {
		if err := add(ParseMount(in)); err != nil {
			return nil, err
		}
	}
	for target, options := range hc.Tmpfs {
		if err := add(ParseTmpfs(target, options)); err != nil {
			return nil, err
		}
	}
	for v := range c.Volumes {
		if !path.IsAbs(v) && !strings.Contains(v, ":") {
			v = path.Clean("/" + v) // VOLUME data is /data, as in Docker
		}
		m, err := ParseBind(v)
		if err != nil {
			return nil, err
		}
		if _, covered := at[m.Destination]; !covered {
			_ = add(m, nil)
		}
	}
	slices.SortStableFunc(out, func(a, b Mount) int { return strings.Compare(a.Destination, b.Destination) })
	return out, nil
}

// inherit returns another container's data mounts: NAME[:ro|rw].
func inherit(text string, from func(ref string) ([]Mount, error)) ([]Mount, error) {
	ref, mode, _ := strings.Cut(text, ":")
	if mode != "" && mode != "ro" && mode != "rw" {
		return nil, invalid("invalid mode: %s (of volumes-from: ro or rw)", mode)
	}
	others, err := from(ref)
	if err != nil {
		return nil, err
	}
	var out []Mount
	for _, m := range others {
		if m.Type == mount.TypeTmpfs {
			continue
		}
		// An anonymous volume stays one: with rm -v the last container takes it along.
		m.NoCopy = true
		m.FromMounts, m.Mode = false, ""
		if mode == "ro" {
			m.ReadOnly = true
		}
		out = append(out, m)
	}
	return out, nil
}

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

func notYet(format string, args ...any) error {
	return fault.New(fault.NotImplemented, format, args...)
}

// checkText refuses NUL bytes, which would cut a path short in the kernel.
func checkText(texts ...string) error {
	for _, t := range texts {
		if strings.IndexByte(t, 0) >= 0 {
			return invalid("invalid mount %q: a NUL byte is not allowed", t)
		}
	}
	return nil
}
