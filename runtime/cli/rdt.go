package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/rdt"
)

// hintRDT is the name of the links to directories of the resctrl file system that go
// with the container, with a number behind it.
const hintRDT = "resctrl"

// joinRDT makes the resctrl group of a container and opens it.
func (k *container) joinRDT(spec *specs.Spec) (files []*os.File, retErr error) {
	if spec.Linux == nil || spec.Linux.IntelRdt == nil {
		return nil, nil
	}
	mount, err := rdt.Mount()
	if err != nil {
		return nil, err
	}
	g, err := rdt.Open(mount, k.id, spec.Linux.IntelRdt)
	if err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			_ = g.Delete()
		}
	}()
	for i, dir := range g.Remove {
		if err := os.Symlink(dir, filepath.Join(k.path, hintRDT+strconv.Itoa(i))); err != nil {
			return nil, fmt.Errorf("record the resctrl group of container %s: %w", k.id, err)
		}
	}
	return g.Tasks()
}

// updateRDT changes its schemata.
func (k *container) updateRDT(l3, mb string) error {
	if l3 == "" && mb == "" {
		return nil
	}
	if k.Spec.Linux == nil || k.Spec.Linux.IntelRdt == nil {
		return fault.New(fault.Conflict, "--l3-cache-schema and --mem-bw-schema: the container has no resctrl group, whose schemata could be changed")
	}
	mount, err := rdt.Mount()
	if err != nil {
		return err
	}
	return rdt.Update(mount, k.id, k.Spec.Linux.IntelRdt, l3, mb)
}

// leaveRDT removes it.
func (k *container) leaveRDT() error {
	if k.Spec != nil && (k.Spec.Linux == nil || k.Spec.Linux.IntelRdt == nil) {
		return nil // the rule; without a specification it was killed while it was made
	}
	var dirs []string
	for i := range 2 {
		if dir := k.hint(hintRDT+strconv.Itoa(i), ""); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	return rdt.Remove(dirs)
}
