package rdt

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// hint is the name of the links, in the directory of a container's record, to directories
// of the resctrl file system that go with the container, with a number behind it.
const hint = "resctrl"

// Join makes the group of a container, notes in the directory of its record what goes with
// it, and opens the files by which a process joins. Without a configuration there is none.
func Join(record, id string, linux *specs.Linux) (files []*os.File, retErr error) {
	if linux == nil || linux.IntelRdt == nil {
		return nil, nil
	}
	mount, err := Mount()
	if err != nil {
		return nil, err
	}
	g, err := Open(mount, id, linux.IntelRdt)
	if err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			_ = g.Delete()
		}
	}()
	for i, dir := range g.Remove {
		if err := os.Symlink(dir, filepath.Join(record, hint+strconv.Itoa(i))); err != nil {
			return nil, fmt.Errorf("record the resctrl group of container %s: %w", id, err)
		}
	}
	return g.Tasks()
}

// Change gives the group of a container other schemata; empty ones change nothing.
func Change(id string, linux *specs.Linux, l3, mb string) error {
	if l3 == "" && mb == "" {
		return nil
	}
	if linux == nil || linux.IntelRdt == nil {
		return fault.New(fault.Conflict, "--l3-cache-schema and --mem-bw-schema: the container has no resctrl group, whose schemata could be changed")
	}
	mount, err := Mount()
	if err != nil {
		return err
	}
	return Update(mount, id, linux.IntelRdt, l3, mb)
}

// Leave removes what Join noted.
func Leave(record string) error {
	var dirs []string
	for i := range 2 {
		if dir, err := os.Readlink(filepath.Join(record, hint+strconv.Itoa(i))); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return Remove(dirs)
}
