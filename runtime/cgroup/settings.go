package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
)

// setting is one value for one file. The limits of a spec become a list of
// settings, separately for v1 and v2, and one function writes them.
type setting struct {
	controller string
	file       string
	value      string
	limit      string // the user's words for it, begins the error: "memory limit of 64 MiB"
	// turn allows to write the next setting before this one. Two files that
	// bound each other (memory and memory+swap, quota and period) have to be
	// written in an order that depends on whether they grow or shrink.
	turn bool
	// elseFile is written instead when file does not exist: which of the two the
	// kernel has depends on the I/O scheduler.
	elseFile, elseValue string
	// spare is left out when the kernel does not have the file.
	spare bool
}

// apply writes all limits. On creation the device filter is always set; on an
// update only when the spec has device rules.
func (g *Group) apply(res *specs.LinuxResources, devices *deviceSet, fresh bool, warn func(string)) error {
	if err := checkLimits(res); err != nil {
		return err
	}
	list, err := g.settings(res, fresh, warn)
	if err != nil {
		return err
	}
	hybrid := g.layout == Hybrid
	for i := 0; i < len(list); i++ {
		s := &list[i]
		if hybrid && g.with(s.controller) != nil && g.with(s.controller).h.v2 {
			if s.file, s.value, err = v2Form(s.file, s.value); err != nil {
				return err
			}
		}
		err := g.write(s)
		if err != nil && s.turn && i+1 < len(list) {
			if g.write(&list[i+1]) == nil && g.write(s) == nil {
				i++
				continue
			}
		}
		if err != nil {
			return err
		}
	}
	if devices != nil && !g.Empty() {
		if err := g.applyDevices(devices); err != nil && !g.noRoot {
			return err
		}
	}
	return g.applyUnified(res.Unified)
}

// v2Form renames the few v1 settings whose controller a hybrid machine has on
// the v2 side.
func v2Form(file, value string) (string, string, error) {
	if size, ok := strings.CutPrefix(file, "hugetlb."); ok {
		return "hugetlb." + strings.TrimSuffix(size, ".limit_in_bytes") + ".max", value, nil
	}
	if file == "rdma.max" {
		return file, value, nil
	}
	return "", "", fault.New(fault.NotImplemented, "%s cannot be set on this machine: its controller is mounted as cgroup v2 beside v1 hierarchies", file)
}

// write applies one setting.
func (g *Group) write(s *setting) error {
	p := g.with(s.controller)
	if p == nil {
		switch {
		case s.spare:
			return nil
		case g.denied:
			return noGroup(s.limit)
		}
		return fault.New(fault.Unavailable, "%s cannot be applied: this machine has no %s controller mounted", s.limit, s.controller)
	}
	name := p.dir() + "/" + s.file
	value := s.value
	err := writeFile(name, value)
	if errors.Is(err, unix.ENOENT) && s.elseFile != "" {
		name, value = p.dir()+"/"+s.elseFile, s.elseValue
		err = writeFile(name, value)
	}
	if err == nil || s.spare && errors.Is(err, unix.ENOENT) {
		return nil
	}
	return refused(s, name, value, err)
}

// refused says why the kernel did not take a value.
func refused(s *setting, name, value string, err error) error {
	hint := ""
	class := fault.Invalid
	switch {
	case errors.Is(err, unix.ENOENT):
		class = fault.Unavailable
		hint = "this kernel, or the parent group's cgroup.subtree_control, does not offer it"
		if s.controller == "blkio" || s.controller == "io" {
			hint = "this kernel has no I/O scheduler for it; load bfq, or leave the limit out"
		}
		if strings.Contains(s.file, "memsw") || strings.Contains(s.file, "swap.max") {
			hint = "swap accounting is off; boot with swapaccount=1, or leave the swap limit out"
		}
	case errors.Is(err, unix.EBUSY) && s.controller == "memory":
		hint = "the group uses more than that and cannot give it back"
	case errors.Is(err, unix.EINVAL) && strings.Contains(s.file, "memsw"):
		hint = "memory and swap together must not be less than the memory limit"
	case errors.Is(err, unix.EINVAL):
		hint = "the value is outside what the kernel or the parent group allows"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		hint = "there is no such device"
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.EOVERFLOW), errors.Is(err, unix.E2BIG):
		hint = "the value is out of range"
	case errors.Is(err, unix.ENOSPC):
		hint = "the set would be empty, or is outside the parent group's"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		class = fault.Forbidden
		hint = "the parent group does not allow it"
	}
	if len(value) > 80 {
		value = value[:80] + "…"
	}
	text := fmt.Sprintf("%s cannot be applied: the kernel refuses %q in %s", s.limit, value, name)
	if hint != "" {
		hint = " (" + hint + ")"
	}
	return fault.New(class, "%s: %w%s", text, errnoOf(err), hint)
}

func errnoOf(err error) error {
	var n unix.Errno
	if errors.As(err, &n) {
		return n
	}
	return err
}

// checkLimits finds what no kernel could do well, so that the message does not
// depend on the machine.
func checkLimits(res *specs.LinuxResources) error {
	if m := res.Memory; m != nil {
		page := int64(os.Getpagesize())
		for _, l := range []struct {
			what  string
			bytes *int64
		}{{"memory limit", m.Limit}, {"memory and swap limit", m.Swap}} {
			// The kernel rounds down to pages: 1 byte would become 0.
			if l.bytes != nil && (*l.bytes < -1 || *l.bytes > 0 && *l.bytes < page) {
				return fault.New(fault.Invalid, "%s of %s cannot be applied: the kernel counts in pages of %d bytes; use a larger limit, or -1 for none", l.what, size(*l.bytes), page)
			}
		}
		if m.Limit != nil && m.Swap != nil && *m.Limit > 0 && *m.Swap > 0 && *m.Swap < *m.Limit {
			return fault.New(fault.Invalid, "memory and swap limit of %s is less than the memory limit of %s; it counts both together", size(*m.Swap), size(*m.Limit))
		}
		if m.Swappiness != nil && *m.Swappiness > 100 && *m.Swappiness != math.MaxUint64 {
			return fault.New(fault.Invalid, "memory swappiness of %d is not between 0 and 100", *m.Swappiness)
		}
	}
	if p := res.Pids; p != nil && p.Limit != nil && *p.Limit < -1 {
		return fault.New(fault.Invalid, "pids limit of %d is negative; use -1 for no limit", *p.Limit)
	}
	for file := range res.Unified {
		if file == "" || strings.ContainsAny(file, "/\x00") || strings.HasPrefix(file, ".") || !strings.Contains(file, ".") {
			return fault.New(fault.Invalid, "unified limit %q is not the name of a cgroup v2 file", file)
		}
		// What these do is the runtime's business: a spec must not move
		// processes or thaw, kill and delegate behind its back.
		if strings.HasPrefix(file, "cgroup.") && !strings.HasPrefix(file, "cgroup.max.") && file != "cgroup.pressure" {
			return fault.New(fault.Invalid, "unified limit %q is not a limit; only files of controllers may be set", file)
		}
	}
	return nil
}

func (g *Group) applyUnified(files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	p := g.unified()
	if p == nil && g.denied {
		return noGroup("linux.resources.unified")
	}
	if p == nil {
		return fault.New(fault.Unavailable, "invalid configuration: unified limits cannot be applied: this machine has no cgroup v2 mounted")
	}
	for _, file := range sortedKeys(files) {
		// A file may take several lines (io.max): each is a command of its own.
		for line := range strings.SplitSeq(files[file], "\n") {
			name := p.dir() + "/" + file
			if err := writeFile(name, line); err != nil {
				controller, _, _ := strings.Cut(file, ".")
				return fmt.Errorf("invalid configuration: %w", refused(&setting{controller: controller, file: file, limit: "unified limit " + file}, name, line, err))
			}
		}
	}
	return nil
}

// Update applies the limits that res names and leaves the others alone.
func (g *Group) Update(res *specs.LinuxResources) error {
	if res == nil {
		return nil
	}
	var devices *deviceSet
	if len(res.Devices) > 0 {
		var err error
		if devices, err = deviceRules(res.Devices); err != nil {
			return err
		}
	}
	if err := g.checkUsage(res.Memory); err != nil {
		return err
	}
	return g.apply(res, devices, false, func(string) {})
}

// Check finds what Update would refuse without asking the kernel.
func (g *Group) Check(res *specs.LinuxResources) error {
	if err := checkLimits(res); err != nil {
		return err
	}
	if _, err := g.settings(res, false, func(string) {}); err != nil {
		return err
	}
	if _, err := deviceRules(res.Devices); err != nil {
		return err
	}
	return g.checkUsage(res.Memory)
}

// settings lists what the limits mean in this layout.
func (g *Group) settings(res *specs.LinuxResources, fresh bool, warn func(string)) ([]setting, error) {
	if g.layout == V2 {
		return v2Settings(res, warn)
	}
	return v1Settings(res, fresh, warn)
}

// checkUsage refuses to go below what is in use when the spec asks for that:
// on v2 the kernel would rather kill the container.
func (g *Group) checkUsage(m *specs.LinuxMemory) error {
	if m == nil || m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate || m.Limit == nil || *m.Limit <= 0 {
		return nil
	}
	p := g.with("memory")
	if p == nil {
		return nil
	}
	file := "memory.current"
	if !p.h.v2 {
		file = "memory.usage_in_bytes"
	}
	data, err := readFile(p.dir() + "/" + file)
	if err != nil {
		return fmt.Errorf("check the memory usage of cgroup %s: %w", g.path, err)
	}
	used, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err == nil && used > *m.Limit {
		return fault.New(fault.Conflict, "memory limit of %s cannot be applied: the container uses %s now", size(*m.Limit), size(used))
	}
	return nil
}

// size writes bytes as a person would.
func size(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift && n&(1<<u.shift-1) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + " " + u.name
		}
	}
	if n == 1 {
		return "1 byte"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
