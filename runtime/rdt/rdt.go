// Package rdt makes and removes groups of the resctrl file system, by which the kernel
// divides caches and memory bandwidth among processes (config-linux.md, intelRdt).
//
// A group is joined by a process that writes "0" into the files that Open returns.
package rdt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

const maxFile = 64 << 20

// Mount finds the resctrl file system; fault.Unavailable if there is none.
func Mount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		front, back, _ := strings.Cut(line, " - ")
		if where := strings.Fields(front); strings.HasPrefix(back, "resctrl ") && len(where) > 4 {
			return where[4], nil
		}
	}
	return "", fault.New(fault.Unavailable, "linux.intelRdt: no resctrl file system is mounted; it needs a processor with resource control, and mount -t resctrl resctrl /sys/fs/resctrl")
}

// Group is a group of the file system.
type Group struct {
	Remove []string // directories that go with the container, in this order
	tasks  []string
}

// Open finds or makes the group of a container below the mount point.
func Open(mount, id string, c *specs.LinuxIntelRdt) (_ *Group, retErr error) {
	if err := check(c); err != nil {
		return nil, err
	}
	g := new(Group)
	defer func() {
		if retErr != nil {
			g.Delete() //nolint:errcheck // the first error counts
		}
	}()
	schemata := c.Schemata
	for _, line := range []string{c.L3CacheSchema, c.MemBwSchema} { // in this order
		if line != "" {
			schemata = append(schemata, line)
		}
	}
	name := c.ClosID
	if name == "" {
		name = id
	}
	dir := filepath.Join(mount, name)
	err := os.Mkdir(dir, 0o755)
	made := err == nil
	switch {
	case made && c.ClosID != "" && len(schemata) == 0:
		g.Remove = append(g.Remove, dir)
		return nil, fault.New(fault.Invalid, "linux.intelRdt.closID %s: there is no group of that name, and no schemata to make one with", c.ClosID)
	case made && c.ClosID == "":
		g.Remove = append(g.Remove, dir)
	case made:
	case errors.Is(err, unix.EEXIST) || c.ClosID == "/":
	case errors.Is(err, unix.ENOSPC):
		return nil, fmt.Errorf("linux.intelRdt: make the group %s: the processor has no further class of service: %w", name, err)
	default:
		return nil, fmt.Errorf("linux.intelRdt: make the group %s: %w", name, err)
	}
	if err := g.schemata(dir, schemata, made); err != nil {
		return nil, err
	}
	g.tasks = append(g.tasks, filepath.Join(dir, "tasks"))
	if c.EnableMonitoring {
		mon := filepath.Join(dir, "mon_groups", id)
		if err := os.Mkdir(mon, 0o755); err != nil {
			return nil, fmt.Errorf("linux.intelRdt: make the monitoring group %s: %w", id, err)
		}
		g.Remove = append([]string{mon}, g.Remove...)
		g.tasks = append(g.tasks, filepath.Join(mon, "tasks"))
	}
	return g, nil
}

func check(c *specs.LinuxIntelRdt) error {
	id := c.ClosID
	if id != "/" && (strings.ContainsAny(id, "/\n\x00") || id == "." || id == ".." || slices.Contains([]string{"info", "mon_groups", "mon_data"}, id)) {
		return fault.New(fault.Invalid, "linux.intelRdt.closID %.80q is no name of a group", id)
	}
	if c.MemBwSchema != "" && !strings.HasPrefix(c.MemBwSchema, "MB:") {
		return fault.New(fault.Invalid, "linux.intelRdt.memBwSchema %.80q does not begin with MB:", c.MemBwSchema)
	}
	for _, s := range append(slices.Clone(c.Schemata), c.L3CacheSchema, c.MemBwSchema) {
		if strings.ContainsAny(s, "\n\x00") {
			return fault.New(fault.Invalid, "linux.intelRdt: the schema %.80q must be one line", s)
		}
	}
	return nil
}

// Update changes the schemata of a container's group: id and c are those that Open got.
// Empty lines are left alone.
func Update(mount, id string, c *specs.LinuxIntelRdt, l3, mb string) error {
	if err := check(&specs.LinuxIntelRdt{L3CacheSchema: l3, MemBwSchema: mb}); err != nil {
		return err
	}
	name := c.ClosID
	if name == "" {
		name = id
	}
	for _, line := range []string{l3, mb} {
		if line == "" {
			continue
		}
		if err := appendTo(filepath.Join(mount, name, "schemata"), line); err != nil {
			return fault.New(fault.Invalid, "change the resctrl group %s: the kernel refuses the schema %q (see info/last_cmd_status in the resctrl file system): %w", name, line, err)
		}
	}
	return nil
}

// schemata writes the schemata of a new group, and compares those of one that is there:
// changing it would change all other containers in it.
func (g *Group) schemata(dir string, lines []string, made bool) error {
	if len(lines) == 0 {
		return nil
	}
	name := filepath.Join(dir, "schemata")
	if made {
		for _, line := range lines {
			if err := appendTo(name, line); err != nil {
				return fault.New(fault.Invalid, "linux.intelRdt: the kernel refuses the schema %q (see info/last_cmd_status in the resctrl file system): %w", line, err)
			}
		}
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("linux.intelRdt: %w", err)
	}
	have := strings.Fields(strings.ReplaceAll(string(data), ": ", ":"))
	for _, line := range lines {
		kind, list, _ := strings.Cut(strings.ReplaceAll(line, " ", ""), ":")
		for part := range strings.SplitSeq(list, ";") {
			if !slices.ContainsFunc(have, func(h string) bool {
				k, l, _ := strings.Cut(h, ":")
				return k == kind && slices.Contains(strings.Split(l, ";"), part)
			}) {
				return fault.New(fault.Invalid, "linux.intelRdt: the group %s has other schemata than %q", dir, line)
			}
		}
	}
	return nil
}

func appendTo(name, line string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// Tasks opens the files by which a process joins.
func (g *Group) Tasks() (files []*os.File, err error) {
	for _, name := range g.tasks {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("linux.intelRdt: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// Delete removes what was made for the container alone.
func (g *Group) Delete() error { return Remove(g.Remove) }

// Remove removes directories of groups; those that are gone are fine.
func Remove(dirs []string) error {
	for _, dir := range dirs {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove the resctrl group %s: %w", dir, err)
		}
	}
	return nil
}
