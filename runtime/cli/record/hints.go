package record

import (
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The hints are links beside a record, for what a create that is killed on its way leaves
// behind and delete --force could not find otherwise: a group of another than the default
// path, a unit of systemd, a root in the host's mount table.
const (
	HintGroup = "cgroup"
	HintUnit  = "unit"
	hintMount = "mounted"
)

// LeaveHints is called before the first of these things is made. unit is empty without
// systemd.
func (k *Container) LeaveHints(spec *specs.Spec, bundle, group, unit string) error {
	hints := map[string]string{}
	if spec.Linux != nil && spec.Linux.CgroupsPath != "" || unit != "" {
		hints[HintGroup] = group
	}
	if unit != "" {
		hints[HintUnit] = unit
	}
	if place := hostRoot(spec, bundle); place != "" {
		hints[hintMount] = place
	}
	for name, target := range hints {
		if err := os.Symlink(target, filepath.Join(k.dir, name)); err != nil {
			return fmt.Errorf("record what container %s will use: %w", k.ID, err)
		}
	}
	return nil
}

// Hint is what a hint names, if it was left.
func (k *Container) Hint(name, otherwise string) string {
	if target, err := os.Readlink(filepath.Join(k.dir, name)); err == nil {
		return target
	}
	return otherwise
}

// HostMount is where the container's root may stand in the host's mount table, or nothing.
func (k *Container) HostMount() string {
	if k.Spec != nil && hostRoot(k.Spec, k.Bundle) == "" {
		return ""
	}
	return k.Hint(hintMount, "")
}

// hostRoot is where a container without a mount namespace of its own has its root, or
// nothing.
func hostRoot(spec *specs.Spec, bundle string) string {
	if spec.Linux != nil {
		for _, ns := range spec.Linux.Namespaces {
			if ns.Type == specs.MountNamespace {
				return ""
			}
		}
	}
	if filepath.IsAbs(spec.Root.Path) {
		return spec.Root.Path
	}
	return filepath.Join(bundle, spec.Root.Path)
}
