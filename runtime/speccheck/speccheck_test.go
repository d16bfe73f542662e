package speccheck

import (
	"errors"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

func ptr[T any](v T) *T { return &v }

// valid is a specification that passes, with every namespace but user.
func valid() *specs.Spec {
	s := &specs.Spec{
		Version:  "1.2.0",
		Hostname: "box",
		Process: &specs.Process{Args: []string{"/bin/sh"}, Cwd: "/", Env: []string{"PATH=/bin", "ODD"},
			Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"}, Permitted: []string{"CAP_KILL", "CAP_LINUX_IMMUTABLE"}, Effective: []string{"CAP_KILL"}},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 20}}},
		Root:   &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{
			Sysctl:        map[string]string{"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1", "kernel.shmmax": "100", "fs.mqueue.msg_max": "5"},
			MaskedPaths:   []string{"/proc/kcore"},
			ReadonlyPaths: []string{"/proc/sys"},
			CgroupsPath:   "/sampan/x",
			Devices:       []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, FileMode: ptr(os.FileMode(0o666))}},
			TimeOffsets:   map[string]specs.LinuxTimeOffset{"boottime": {Secs: 5}},
		},
		Hooks: &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true"}}},
	}
	for _, kind := range namespaceKinds {
		if kind != specs.UserNamespace {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
		}
	}
	return s
}

func without(s *specs.Spec, kind specs.LinuxNamespaceType) {
	var left []specs.LinuxNamespace
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != kind {
			left = append(left, ns)
		}
	}
	s.Linux.Namespaces = left
}

func TestValid(t *testing.T) {
	if err := Check(valid()); err != nil {
		t.Error(err)
	}
	s := valid()
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
	if err := Check(s); err != nil {
		t.Error(err)
	}
	s = valid()
	s.Process.Capabilities.Permitted = []string{"CAP_KILL"}
	s.Process.Capabilities.Ambient = []string{"CAP_KILL"}
	s.Process.Capabilities.Inheritable = nil
	if err := Check(s); err != nil {
		t.Errorf("ambient but not inheritable, as runc spec writes it: %v", err)
	}
	if err := Check(&specs.Spec{Process: &specs.Process{Args: []string{"a"}, Cwd: "/"}}); err != nil {
		t.Errorf("the smallest specification: %v", err)
	}
}

func TestInvalid(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*specs.Spec)
		text  string
	}{
		{"version", func(s *specs.Spec) { s.Version = "2.0" }, `ociVersion "2.0"`},
		{"windows", func(s *specs.Spec) { s.Windows = &specs.Windows{} }, `"windows"`},
		{"no process", func(s *specs.Spec) { s.Process = nil }, "no process"},
		{"no command", func(s *specs.Spec) { s.Process.Args = nil }, "process.args is empty"},
		{"empty command", func(s *specs.Spec) { s.Process.Args = []string{"", "x"} }, "process.args[0] is empty"},
		{"NUL in command", func(s *specs.Spec) { s.Process.Args = []string{"a", "b\x00c"} }, `process.args[1] "b\x00c" contains a NUL`},
		{"NUL in environment", func(s *specs.Spec) { s.Process.Env = []string{"A=\x00"} }, "process.env[0]"},
		{"nameless variable", func(s *specs.Spec) { s.Process.Env = []string{"=x"} }, "no name"},
		{"huge argument", func(s *specs.Spec) { s.Process.Args = []string{strings.Repeat("x", 1<<17)} }, "131072 bytes"},
		{"no cwd", func(s *specs.Spec) { s.Process.Cwd = "" }, "process.cwd is empty"},
		{"relative cwd", func(s *specs.Spec) { s.Process.Cwd = "tmp" }, `process.cwd "tmp" is not an absolute path`},
		{"uid -1", func(s *specs.Spec) { s.Process.User.UID = noID }, "process.user.uid 4294967295 is out of range"},
		{"gid -1", func(s *specs.Spec) { s.Process.User.GID = noID }, "process.user.gid"},
		{"group -1", func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{1, noID} }, "additionalGids"},
		{"umask", func(s *specs.Spec) { s.Process.User.Umask = ptr(uint32(0o1000)) }, "umask 01000"},
		{"effective", func(s *specs.Spec) { s.Process.Capabilities.Effective = []string{"CAP_CHOWN"} }, "not in permitted"},
		{"rlimit", func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "NOFILE"}} }, `has "NOFILE"`},
		{"rlimit order", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}}
		}, "soft limit of 2"},
		{"rlimit twice", func(s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, s.Process.Rlimits[0]) }, "RLIMIT_NOFILE twice"},
		{"oom", func(s *specs.Spec) { s.Process.OOMScoreAdj = ptr(1001) }, "oomScoreAdj 1001"},
		{"root", func(s *specs.Spec) { s.Root.Path = "" }, "root.path is empty"},
		{"namespace", func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "net" }, `unknown type "net"`},
		{"namespace twice", func(s *specs.Spec) { s.Linux.Namespaces[0].Type = specs.UTSNamespace }, "uts twice"},
		{"namespace path", func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "x" }, "not an absolute path"},
		{"hostname", func(s *specs.Spec) { without(s, specs.UTSNamespace) }, "shares the host's UTS namespace"},
		{"long hostname", func(s *specs.Spec) { s.Hostname = strings.Repeat("h", 65) }, "65 bytes"},
		{"mappings without namespace", func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }, "need a user namespace"},
		{"namespace without mappings", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		}, "needs both"},
		{"empty mapping", func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{}} }, "its size is 0"},
		{"mapping too large", func(s *specs.Spec) { s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 10, Size: noID}} }, "beyond the largest id"},
		{"mount destination", func(s *specs.Spec) { s.Mounts[0].Destination = "" }, "mounts[0].destination is empty"},
		{"relative mount on root", func(s *specs.Spec) { s.Mounts[0].Destination = "." }, "root directory"},
		{"half a mount map", func(s *specs.Spec) { s.Mounts[0].UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }, "both uidMappings and gidMappings"},
		{"annotation", func(s *specs.Spec) { s.Annotations = map[string]string{"": "x"} }, "empty key"},
		{"network device", func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth0": {Name: "a/b"}} }, "no name of a network device"},
		{"network device of the host", func(s *specs.Spec) {
			without(s, specs.NetworkNamespace)
			s.Linux.Sysctl = nil
			s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth0": {}}
		}, "needs a network namespace"},
		{"listener metadata", func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{ListenerMetadata: "x"} }, "listenerPath is not"},
		{"listener path", func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{ListenerPath: "x"} }, "not an absolute path"},
		{"mount on root", func(s *specs.Spec) { s.Mounts[0].Destination = "/./a/.." }, "root directory"},
		{"NUL in mount", func(s *specs.Spec) { s.Mounts[0].Options = []string{"a\x00"} }, "mounts[0]"},
		{"device path", func(s *specs.Spec) { s.Linux.Devices[0].Path = "fuse" }, "linux.devices[0].path"},
		{"device type", func(s *specs.Spec) { s.Linux.Devices[0].Type = "a" }, "must be b, c, u or p"},
		{"device number", func(s *specs.Spec) { s.Linux.Devices[0].Major = 4096 }, "4096:229"},
		{"device mode", func(s *specs.Spec) { s.Linux.Devices[0].FileMode = ptr(os.FileMode(0o100666)) }, "permission bits"},
		{"masked path", func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/a", "b"} }, "linux.maskedPaths[1]"},
		{"read-only path", func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"b"} }, "linux.readonlyPaths[0]"},
		{"propagation", func(s *specs.Spec) { s.Linux.RootfsPropagation = "sideways" }, `"sideways"`},
		{"clock", func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {}} }, `"realtime"`},
		{"offset without namespace", func(s *specs.Spec) { without(s, specs.TimeNamespace) }, "time namespace"},
		{"hook", func(s *specs.Spec) { s.Hooks.Poststop[0].Path = "true" }, "hooks.poststop[0].path"},
		{"hook timeout", func(s *specs.Spec) { s.Hooks.Poststop[0].Timeout = ptr(0) }, "timeout of 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := valid()
			tt.spoil(s)
			refused(t, Check(s), tt.text)
		})
	}
	refused(t, Check(nil), "empty")
}

func refused(t *testing.T, err error, text string) {
	t.Helper()
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want an error with %q", err, text)
	}
	if strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' || c == 0x7f }) {
		t.Errorf("the message holds control characters: %q", err)
	}
}

func TestSysctls(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		without    specs.LinuxNamespaceType
		text       string
	}{
		{"kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil", "", "plus sign"},
		{"kernel.shm_rmid_forced+kernel.core_pattern", "1", "", "not the name"},
		{"net/../kernel/core_pattern", "x", "", "not the name"},
		{"net.ipv4...kernel.core_pattern", "x", "", "not the name"},
		{"/proc/sys/net/x", "1", "", "not the name"},
		{"net.ipv4.ip_forward\n", "1", "", "not the name"},
		{"", "1", "", "not the name"},
		{"net.ipv4.ip_forward", "1\n2", "", "control characters"},
		{"net.ipv4.ip_forward", "1\x00", "", "control characters"},
		{"kernel.core_pattern", "|/evil", "", "not namespaced"},
		{"vm.overcommit_memory", "1", "", "not namespaced"},
		{"fs.file-max", "1", "", "not namespaced"},
		{"kernel.shmmaxx", "1", "", "not namespaced"},
		{"kernel.hostname", "x", "", "field hostname"},
		{"net.ipv4.ip_forward", "1", specs.NetworkNamespace, "network namespace the container shares"},
		{"fs/mqueue/msg_max", "1", specs.IPCNamespace, "ipc namespace the container shares"},
		{"kernel.domainname", "x", specs.UTSNamespace, "uts namespace the container shares"},
	} {
		t.Run(tt.key, func(t *testing.T) {
			s := valid()
			s.Hostname = ""
			s.Linux.Sysctl = map[string]string{tt.key: tt.value}
			without(s, tt.without)
			refused(t, Check(s), tt.text)
		})
	}
}
