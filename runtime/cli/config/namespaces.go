package config

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// OwnsPids reports whether a specification makes a PID namespace, whose end is that of
// all processes.
func OwnsPids(s *specs.Spec) bool {
	return s.Linux != nil && slices.ContainsFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.PIDNamespace && ns.Path == ""
	})
}
