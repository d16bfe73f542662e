package runtime

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestNeedsSeal(t *testing.T) {
	profile := func(def specs.LinuxSeccompAction, rules ...specs.LinuxSyscall) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: def, Syscalls: rules} }
	}
	allow := func(names ...string) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: names, Action: specs.ActAllow}
	}
	calls := []string{"execve", "execveat", "fcntl", "write", "exit_group"}
	for _, tt := range []struct {
		name   string
		change func(*specs.Spec)
		want   bool
	}{
		{"plain", func(*specs.Spec) {}, false},
		{"no PID namespace", func(s *specs.Spec) { s.Linux.Namespaces = nil }, true},
		{"joined PID namespace", func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "/proc/1/ns/pid" }, true},
		{"label", func(s *specs.Spec) { s.Process.ApparmorProfile = "x" }, true},
		{"hook", func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/x"}}} }, true},
		{"filter that allows", profile(specs.ActErrno, allow(calls...)), false},
		{"filter that does not name execveat", profile(specs.ActErrno, allow("execve", "fcntl", "write", "exit_group")), true},
		{"filter that forbids fcntl", profile(specs.ActAllow, specs.LinuxSyscall{Names: []string{"fcntl"}, Action: specs.ActErrno}), true},
		{"filter that allows by argument", profile(specs.ActErrno, allow(calls[:4]...),
			specs.LinuxSyscall{Names: []string{"exit_group"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{}}}), true},
		{"filter that allows all but others", profile(specs.ActAllow, specs.LinuxSyscall{Names: []string{"mount"}, Action: specs.ActErrno}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}}}}
			tt.change(s)
			if NeedsSeal(s, false) != tt.want {
				t.Errorf("got %t", !tt.want)
			}
			if !NeedsSeal(s, true) {
				t.Error("a held container may be looked into")
			}
		})
	}
}
