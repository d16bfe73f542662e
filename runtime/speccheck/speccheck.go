// Package speccheck holds the checks that a config.json must pass before anything
// is made for it. A specification may come from anywhere, so each check assumes
// that every field is wrong on purpose.
//
// Checked is what can be said about the text alone: names, ranges, formats and
// combinations. What depends on the kernel, the root file system or the caller's
// rights is found by the step that needs it. Each failure is one sentence that
// names the field, and is fault.Invalid.
package speccheck

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// check is one rule that a specification must keep.
type check struct {
	name string
	run  func(*specs.Spec) error
}

// checks in the order in which a person would want to hear of failures.
var checks = [...]check{
	{"version", version},
	{"platform", platform},
	{"annotations", annotations},
	{"process", process},
	{"root", root},
	{"namespaces", namespaces},
	{"names", names},
	{"id mappings", idMappings},
	{"mounts", mounts},
	{"devices", devices},
	{"paths", paths},
	{"sysctl", sysctls},
	{"propagation", propagation},
	{"time offsets", timeOffsets},
	{"cgroup path", cgroupPath},
	{"hooks", hooks},
	{"network devices", netDevices},
	{"seccomp", seccomp},
}

// Check runs every check and returns the first failure.
func Check(s *specs.Spec) error {
	if s == nil {
		return fault.New(fault.Invalid, "the specification is empty")
	}
	for _, c := range checks {
		if err := c.run(s); err != nil {
			return err
		}
	}
	return nil
}

// Process checks a process on its own, for exec.
func Process(p *specs.Process) error {
	if p == nil {
		return fault.New(fault.Invalid, "the specification has no process")
	}
	for _, run := range []func(*specs.Process) error{command, user, capabilities, rlimits, scheduling} {
		if err := run(p); err != nil {
			return err
		}
	}
	return nil
}

// invalid makes the error of this package.
func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// quoted shows a value of hostile origin within reason.
func quoted(s string) string {
	const longest = 80
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return strconv.Quote(s)
}

// text refuses what no system call can take and no log should show.
func text(field, s string) error {
	if strings.ContainsRune(s, 0) {
		return invalid("%s %s contains a NUL byte", field, quoted(s))
	}
	return nil
}

// absolute refuses relative paths.
func absolute(field, path string) error {
	if err := text(field, path); err != nil {
		return err
	}
	if !strings.HasPrefix(path, "/") {
		return invalid("%s %s is not an absolute path", field, quoted(path))
	}
	return nil
}

func version(s *specs.Spec) error {
	if s.Version != "" && !strings.HasPrefix(s.Version, "1.") {
		return invalid("ociVersion %s is not supported; it must be 1.x", quoted(s.Version))
	}
	return nil
}

func platform(s *specs.Spec) error {
	for _, p := range []struct {
		name string
		set  bool
	}{{"windows", s.Windows != nil}, {"solaris", s.Solaris != nil}, {"vm", s.VM != nil}, {"zos", s.ZOS != nil}, {"freebsd", s.FreeBSD != nil}} {
		if p.set {
			return invalid("the specification has a section %q, but containers run on Linux", p.name)
		}
	}
	return nil
}

func process(s *specs.Spec) error { return Process(s.Process) }

func root(s *specs.Spec) error {
	if s.Root == nil {
		return nil // the caller may bring an overlay
	}
	if s.Root.Path == "" {
		return invalid("root.path is empty")
	}
	return text("root.path", s.Root.Path)
}

func annotations(s *specs.Spec) error {
	if _, ok := s.Annotations[""]; ok {
		return invalid("annotations has an empty key")
	}
	return nil
}

func propagation(s *specs.Spec) error {
	if s.Linux == nil {
		return nil
	}
	switch strings.TrimPrefix(s.Linux.RootfsPropagation, "r") {
	case "", "private", "shared", "slave", "unbindable":
		return nil
	}
	return invalid("linux.rootfsPropagation %s is none of private, shared, slave and unbindable", quoted(s.Linux.RootfsPropagation))
}

func cgroupPath(s *specs.Spec) error {
	if s.Linux == nil || s.Linux.CgroupsPath == "" {
		return nil
	}
	return text("linux.cgroupsPath", s.Linux.CgroupsPath)
}

func timeOffsets(s *specs.Spec) error {
	if s.Linux == nil || len(s.Linux.TimeOffsets) == 0 {
		return nil
	}
	if ns := find(s, specs.TimeNamespace); ns == nil || ns.Path != "" {
		return invalid("linux.timeOffsets needs a new time namespace")
	}
	for clock, o := range s.Linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return invalid("linux.timeOffsets names the clock %s; only monotonic and boottime can have an offset", quoted(clock))
		}
		if o.Nanosecs >= 1e9 {
			return invalid("linux.timeOffsets has %d nanoseconds for %s, which is a second or more", o.Nanosecs, clock)
		}
	}
	return nil
}

func hooks(s *specs.Spec) error {
	if s.Hooks == nil {
		return nil
	}
	for _, h := range []struct {
		name string
		list []specs.Hook
	}{
		//lint:ignore SA1019 deprecated, but in use
		{"prestart", s.Hooks.Prestart},
		{"createRuntime", s.Hooks.CreateRuntime},
		{"createContainer", s.Hooks.CreateContainer},
		{"startContainer", s.Hooks.StartContainer},
		{"poststart", s.Hooks.Poststart},
		{"poststop", s.Hooks.Poststop},
	} {
		for i, hook := range h.list {
			field := fmt.Sprintf("hooks.%s[%d]", h.name, i)
			if err := absolute(field+".path", hook.Path); err != nil {
				return err
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return invalid("%s.timeout of %d is not positive", field, *hook.Timeout)
			}
			for _, v := range append(hook.Args[:len(hook.Args):len(hook.Args)], hook.Env...) {
				if err := text(field, v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
