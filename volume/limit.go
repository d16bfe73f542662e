package volume

import (
	"fmt"

	units "github.com/docker/go-units"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/quota"
)

// optionSize is what the files of a volume may take.
const optionSize = "size"

// isMount tells whether options make a volume a mount, and not a directory.
func isMount(options map[string]string) bool {
	for key := range options {
		if key != optionSize {
			return true
		}
	}
	return false
}

// Mounts tells whether the volume is a mount of something else: its files are not ours.
func (v *Volume) Mounts() bool { return isMount(v.Options) }

func checkSize(name string, options map[string]string) error {
	text, given := options[optionSize]
	if !given {
		return nil
	}
	if n, err := units.RAMInBytes(text); err != nil || n <= 0 {
		return fault.New(fault.Invalid, "create %s: invalid value %q of option size: use a size such as 10g", name, text)
	}
	if isMount(options) {
		return fault.New(fault.Invalid, "create %s: option size limits a directory of the daemon's own; what %s is mounted from has its own size (type=tmpfs takes o=size=SIZE)", name, name)
	}
	return nil
}

// limit gives the new, empty directory of a volume its size.
func (l *Local) limit(v *Volume, dir string) error {
	text := v.Options[optionSize]
	if text == "" {
		return nil
	}
	if !l.limits {
		return fault.New(fault.NotImplemented, "option size is not available in %s: %w; a volume of type=tmpfs takes o=size=SIZE", l.root, quota.Probe(l.root))
	}
	bytes, err := units.RAMInBytes(text)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if err := quota.Limit(bytes, dir); err != nil {
		return fmt.Errorf("limit the volume's size: %w", err)
	}
	return nil
}

// release gives the quota of a volume's directory back.
func (l *Local) release(dir string) error {
	if !l.limits {
		return nil
	}
	return quota.Release(dir)
}
