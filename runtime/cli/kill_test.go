package cli

import (
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestKillOfSharedPids: in the host's PID namespace KILL ends all processes of a container,
// also when the first has ended.
func TestKillOfSharedPids(t *testing.T) {
	l := newLab(t, func(s *specs.Spec) {
		s.Process.Args = []string{"/bin/sh", "-c", "sleep 1000 & sleep 1000 & trap 'exit 0' TERM; wait"}
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace })
	})
	for _, before := range []string{"", "TERM"} {
		id := l.id("shared" + strings.ToLower(before))
		l.ok("run", "--detach", id)
		until(t, "three processes", func() bool { return strings.Count(l.ok("ps", "-f", "json", id), ",") == 2 })
		if before != "" {
			l.ok("kill", id, before)
			until(t, "the end of the first process", func() bool { return l.status(id) == "stopped" })
		}
		l.ok("kill", id, "KILL")
		until(t, "an empty group", func() bool {
			_, out, _ := l.call("ps", "-f", "json", id)
			return !strings.ContainsAny(out, "123456789")
		})
		l.refused(1, "container not running", "kill", id, "KILL")
		l.ok("delete", id)
	}
}
