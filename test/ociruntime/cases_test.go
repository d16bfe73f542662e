package ociruntime

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// field is a configuration and what a process in the container sees of it. It is run by
// our runtime, and by runc where that has the same.
type field struct {
	section string // of the specification
	name    string
	script  string
	change  func(l *lab, s *specs.Spec)
	want    string // regular expression for the output; empty with fails
	fails   string // text of the error, when it must not start
	differs string // why runc is not compared, or gives something else
}

// mount adds a mount.
func mount(m specs.Mount) func(*lab, *specs.Spec) {
	return func(l *lab, s *specs.Spec) { s.Mounts = append(s.Mounts, m) }
}

// bound binds a directory of the bundle, with a file in it, at /mnt/b.
func bound(options ...string) func(*lab, *specs.Spec) {
	return func(l *lab, s *specs.Spec) {
		must(l.t, os.MkdirAll(filepath.Join(l.bundle, "src/sub"), 0o755))
		must(l.t, os.WriteFile(filepath.Join(l.bundle, "src/file"), []byte("content\n"), 0o755))
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt/b", Type: "bind", Source: "src", Options: append([]string{"bind"}, options...)})
	}
}

func tmpfs(options ...string) func(*lab, *specs.Spec) {
	return mount(specs.Mount{Destination: "/mnt/t", Type: "tmpfs", Source: "tmpfs", Options: options})
}

func resources(change func(r *specs.LinuxResources)) func(*lab, *specs.Spec) {
	return func(l *lab, s *specs.Spec) { change(s.Linux.Resources) }
}

// group prints a file of the container's group.
func group(controller, file string) string {
	return "cat /sys/fs/cgroup/" + controller + "/" + file
}

// line prints the flags of a mount.
func line(where string) string {
	return "awk '$5==\"" + where + "\"{print $6,$7}' /proc/self/mountinfo"
}

const (
	newerThanRunc = "runc 1.1.5 is older than this part of the specification"
	aFlaw         = "runc's behaviour contradicts the specification"
)

// fields has at least one case for each field that a caller can set.
func fields() []field {
	return append(append(processFields(), mountFields()...), linuxFields()...)
}

func processFields() []field {
	return []field{
		{"config.md#configSpecificationVersion", "ociVersion", "echo started", func(l *lab, s *specs.Spec) { s.Version = "1.0.0" }, "started", "", ""},
		{"config.md#configSpecificationVersion", "bad ociVersion", "true", func(l *lab, s *specs.Spec) { s.Version = "2.0" }, "", "ociVersion", "runc takes it: " + aFlaw},
		{"config.md#configRoot", "root.path absolute", "ls /bin/busybox", func(l *lab, s *specs.Spec) { s.Root.Path = l.path("") }, "/bin/busybox", "", ""},
		{"config.md#configRoot", "root.path missing", "true", func(l *lab, s *specs.Spec) { s.Root.Path = "nowhere" }, "", "nowhere", ""},
		{"config.md#configRoot", "root.readonly", "touch /x 2>&1; touch /tmp/x 2>&1; true", func(l *lab, s *specs.Spec) { s.Root.Readonly = true }, "(?s)Read-only.*Read-only", "", ""},
		{"config.md#configHostname", "hostname", "hostname", func(l *lab, s *specs.Spec) { s.Hostname = "other" }, "^other$", "", ""},
		{"config.md#configDomainname", "domainname", "cat /proc/sys/kernel/domainname", func(l *lab, s *specs.Spec) { s.Domainname = "example.org" }, "^example.org$", "", newerThanRunc},
		{"config.md#configProcess", "args by PATH", "", func(l *lab, s *specs.Spec) { s.Process.Args = []string{"echo", "a b", "*"} }, `^a b \*$`, "", ""},
		{"config.md#configProcess", "no args", "", func(l *lab, s *specs.Spec) { s.Process.Args = nil }, "", "args", ""},
		{"config.md#configProcess", "missing program", "", func(l *lab, s *specs.Spec) { s.Process.Args = []string{"nope"} }, "", "executable file not found in $PATH", ""},
		{"config.md#configProcess", "cwd", "pwd", func(l *lab, s *specs.Spec) { s.Process.Cwd = "/usr" }, "^/usr$", "", ""},
		{"config.md#configProcess", "cwd is made", "pwd", func(l *lab, s *specs.Spec) { s.Process.Cwd = "/made/deep" }, "^/made/deep$", "", ""},
		{"config.md#configProcess", "cwd relative", "true", func(l *lab, s *specs.Spec) { s.Process.Cwd = "usr" }, "", "absolute", ""},
		{"config.md#configProcess", "variable twice", "env | sort | grep -v -e PWD -e SHLVL", func(l *lab, s *specs.Spec) {
			s.Process.Env = []string{"ONE=two", "PATH=/bin", "ONE=", "HOME="}
		}, "(?s)^HOME=/root\nONE=\nPATH=/bin$", "", "this runc hands both on, and an empty HOME; 1.3 does as we do"},
		{"config.md#configProcess", "env", "env | sort | grep -v -e PWD -e SHLVL", func(l *lab, s *specs.Spec) { s.Process.Env = append(s.Process.Env, "A=b c", "X=") }, "(?s)^A=b c\nHOME=/root\nPATH=/bin\nTERM=xterm\nX=$", "", ""},
		{"config.md#configProcess", "home of a user", "echo $HOME", func(l *lab, s *specs.Spec) {
			s.Process.User.UID = 77
			must(l.t, os.WriteFile(l.path("etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nu:x:77:77::/home/u:/bin/sh\n"), 0o644))
		}, "^/home/u$", "", ""},
		{"config.md#configProcess", "home that is hostile", "echo $HOME", func(l *lab, s *specs.Spec) {
			must(l.t, os.Remove(l.path("etc/passwd")))
			must(l.t, syscall.Mkfifo(l.path("etc/passwd"), 0o644))
		}, "^/$", "", "runc waits at the FIFO: CVE-2024-5154 and its like"},
		{"config.md#configProcess", "consoleSize without terminal", "echo started", func(l *lab, s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Height: 3, Width: 4} }, "started", "", ""},
		{"config.md#configPOSIXProcess", "rlimits", "ulimit -Sn; ulimit -Hn; ulimit -c", func(l *lab, s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE", Soft: 0, Hard: 0}}
		}, "(?s)^100\n200\n0$", "", ""},
		{"config.md#configPOSIXProcess", "rlimit twice", "true", func(l *lab, s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, s.Process.Rlimits[0]) }, "", "RLIMIT_NOFILE", "runc takes the last one: " + aFlaw},
		{"config.md#configPOSIXProcess", "unknown rlimit", "true", func(l *lab, s *specs.Spec) { s.Process.Rlimits[0].Type = "RLIMIT_FOO" }, "", "RLIMIT_FOO", ""},
		{"config.md#configPOSIXProcess", "rlimits that are looked up", "grep -e 'stack size' -e 'open files' /proc/self/limits | awk '{print $4}'", func(l *lab, s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_STACK", Soft: 1 << 20, Hard: 2 << 20}}
		}, "^1048576", "", "the soft limit of files without an rlimit is the kernel's 1024, not that of the Go program that launches"},
		{"config.md#configLinuxProcess", "capabilities", "grep Cap /proc/self/status", func(l *lab, s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"}, Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"}}
		}, `(?s)CapInh:\s0{14}20.CapPrm:\s0{14}21?.*CapBnd:\s0{14}21`, "", "root's execve gains the bounding set either way; the sets before are equal"},
		{"config.md#configLinuxProcess", "capabilities of a user", "grep Cap /proc/self/status", func(l *lab, s *specs.Spec) {
			s.Process.User = specs.User{UID: 1000, GID: 1000}
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_KILL"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"}, Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"}}
		}, `(?s)CapInh:\s0{14}20.CapPrm:\s0{14}20.CapEff:\s0{14}20.CapBnd:\s0{14}21.CapAmb:\s0{14}20`, "", ""},
		{"config.md#configLinuxProcess", "capability that nobody knows", "grep CapBnd /proc/self/status", func(l *lab, s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_NOSUCH", "CAP_KILL", "CHOWN"}}
		}, `CapBnd:\s0{14}20`, "", ""},
		{"config.md#configLinuxProcess", "capability that cannot be given", "grep CapBnd /proc/self/status", func(l *lab, s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_SYS_RESOURCE", "CAP_KILL"}}
		}, `CapBnd:\s0{9}[01]000020`, "", "runc fails where the specification wants a warning"},
		{"config.md#configLinuxProcess", "noNewPrivileges", "grep NoNewPrivs /proc/self/status", func(l *lab, s *specs.Spec) { s.Process.NoNewPrivileges = false }, `NoNewPrivs:\s0`, "", ""},
		{"config.md#configLinuxProcess", "oomScoreAdj", "cat /proc/self/oom_score_adj", func(l *lab, s *specs.Spec) { s.Process.OOMScoreAdj = ptr(321) }, "^321$", "", ""},
		{"config.md#configLinuxProcess", "scheduler", "awk '{print $41, $19}' /proc/$$/stat", func(l *lab, s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}, Priority: 0, Runtime: 0, Deadline: 0, Period: 0}
		}, "^3 5$", "", newerThanRunc},
		{"config.md#configLinuxProcess", "scheduler with a priority", "awk '{print $41, $40}' /proc/$$/stat", func(l *lab, s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedRR, Priority: 7}
			if realtime() { // then a group without a share has no real-time processes
				s.Linux.Resources.CPU = &specs.LinuxCPU{RealtimeRuntime: ptr(int64(1000)), RealtimePeriod: ptr(uint64(100000))}
			}
		}, roundRobinWant(), roundRobinError(), newerThanRunc},
		{"config.md#configLinuxProcess", "scheduler with deadlines that cannot be", "true", func(l *lab, s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 9000000, Deadline: 5000000, Period: 20000000}
		}, "", "SCHED_DEADLINE", newerThanRunc},
		{"config.md#configLinuxProcess", "execCPUAffinity is for exec", "echo started", func(l *lab, s *specs.Spec) {
			s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "0"}
		}, "started", "", newerThanRunc},
		{"config.md#configLinuxProcess", "scheduler unknown", "true", func(l *lab, s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_FOO"} }, "", "SCHED_FOO", newerThanRunc},
		{"config.md#configLinuxProcess", "ioPriority", "ionice -p $$", func(l *lab, s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		}, "best-effort: prio 6", "", newerThanRunc},
		{"config.md#configLinuxProcess", "apparmorProfile", "true", func(l *lab, s *specs.Spec) { s.Process.ApparmorProfile = "no-such-profile" }, "", "apparmor", "the words differ"},
		{"config.md#configLinuxProcess", "selinuxLabel", "true", func(l *lab, s *specs.Spec) { s.Process.SelinuxLabel = "system_u:system_r:x_t:s0" }, "", "selinux", "the words differ"},
		{"config.md#configPOSIXUser", "uid gid groups umask", "id -u; id -g; id -G; umask", func(l *lab, s *specs.Spec) {
			s.Process.User = specs.User{UID: 12, GID: 34, AdditionalGids: []uint32{56, 78}, Umask: ptr(uint32(0o27))}
		}, "(?s)^12\n34\n34 56 78\n0027$", "", ""},
		{"config.md#configAnnotations", "annotations", "echo started", func(l *lab, s *specs.Spec) {
			s.Annotations = map[string]string{"org.example.unknown": "x", "org.opencontainers.image.os": "linux"}
		}, "started", "", ""},
		{"config.md#configAnnotations", "empty key", "true", func(l *lab, s *specs.Spec) { s.Annotations = map[string]string{"": "x"} }, "", "annotations", "runc takes it: " + aFlaw},
	}
}

func mountFields() []field {
	list := []field{
		{"config.md#configMounts", "listed order", "ls /mnt/t; cat /mnt/t/b/file", func(l *lab, s *specs.Spec) {
			tmpfs()(l, s)
			bound()(l, s)
			s.Mounts[len(s.Mounts)-1].Destination = "/mnt/t/b"
		}, "(?s)^b\ncontent$", "", ""},
		{"config.md#configMounts", "order of the table", "awk '{print $5}' /proc/self/mountinfo | grep -e ^/mnt -e ^/proc$ -e ^/sys$", func(l *lab, s *specs.Spec) {
			bound()(l, s)
			tmpfs()(l, s)
		}, "(?s)^/proc\n/sys\n/mnt/b\n/mnt/t$", "", ""},
		{"config.md#configMounts", "relative destination", "cat /mnt/b/file", func(l *lab, s *specs.Spec) {
			bound()(l, s)
			s.Mounts[len(s.Mounts)-1].Destination = "mnt/b"
		}, "^content$", "", ""},
		{"config.md#configMounts", "source missing", "true", func(l *lab, s *specs.Spec) {
			mount(specs.Mount{Destination: "/mnt/b", Type: "bind", Source: "/nowhere", Options: []string{"bind"}})(l, s)
		}, "", "/nowhere", ""},
		{"config.md#configMounts", "type unknown", "true", mount(specs.Mount{Destination: "/mnt/t", Type: "beerfs", Source: "x"}), "", "beerfs", ""},
		{"config.md#configMounts", "options of a file system on a bind", line("/mnt/b"), bound("mode=755", "size=1k", "ro"), "ro", "", ""},
		{"config.md#configMounts", "target through links", "cat /real/file; ls -d /real", func(l *lab, s *specs.Spec) {
			bound()(l, s)
			must(l.t, os.Mkdir(l.path("real"), 0o755))
			must(l.t, os.Remove(l.path("mnt")))
			must(l.t, os.Symlink("/", l.path("mnt")))
			must(l.t, os.Symlink("real", l.path("b")))
		}, "(?s)^content\n/real$", "", ""},
		{"config.md#configLinuxMountOptions", "tmpcopyup", "cat /etc/passwd; stat -c %a /etc; touch /etc/new && echo written", func(l *lab, s *specs.Spec) {
			must(l.t, os.Chmod(l.path("etc"), 0o750))
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}})
		}, "(?s)root:x.*750\nwritten", "", "runc makes its copy in the host's /tmp; the modes of the directory differ"},
		{"config.md#configLinuxMountOptions", "remount", line("/mnt/b"), func(l *lab, s *specs.Spec) {
			bound()(l, s)
			mount(specs.Mount{Destination: "/mnt/b", Type: "bind", Source: "src", Options: []string{"bind", "remount", "ro", "nosuid"}})(l, s)
		}, "ro,nosuid", "", ""},
		{"config.md#configLinuxMountOptions", "remount of a file system", "df -k /mnt/t | tail -1 | awk '{print $2}'", func(l *lab, s *specs.Spec) {
			tmpfs("size=64k")(l, s)
			mount(specs.Mount{Destination: "/mnt/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"remount", "size=128k"}})(l, s)
			must(l.t, os.Symlink("busybox", l.path("bin/df")))
		}, "^128$", "", ""},
		{"config.md#configLinuxMountOptions", "idmap without a map", "true", bound("idmap"), "", "idmap", newerThanRunc},
		{"config.md#configPOSIXMounts", "uidMappings and gidMappings", "stat -c %u:%g /mnt/b/file", func(l *lab, s *specs.Spec) {
			bound("idmap")(l, s)
			m := &s.Mounts[len(s.Mounts)-1]
			m.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 7000, Size: 10}}
			m.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 8000, Size: 10}}
		}, "^7000:8000$", "", newerThanRunc},
		{"config.md#configPOSIXMounts", "the map of the container", "stat -c %u:%g /mnt/file", func(l *lab, s *specs.Spec) {
			inUserNS(s)
			bound("ridmap")(l, s)
			s.Mounts[len(s.Mounts)-1].Destination = "/mnt" // it is there: the mapped root may make nothing in this root
		}, "^0:0$", "", newerThanRunc},
		{"config.md#configPOSIXMounts", "half a map", "true", func(l *lab, s *specs.Spec) {
			bound()(l, s)
			s.Mounts[len(s.Mounts)-1].UIDMappings = []specs.LinuxIDMapping{{HostID: 7000, Size: 10}}
		}, "", "gidMappings", newerThanRunc},
		{"config.md#configMounts", "a map on a tmpfs", "touch /mnt/t/x; stat -c %u /mnt/t/x", func(l *lab, s *specs.Spec) {
			tmpfs("mode=1777")(l, s)
			m := &s.Mounts[len(s.Mounts)-1]
			m.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1000}}
			m.GIDMappings = m.UIDMappings
		}, "^0$", "", newerThanRunc},
		{"config.md#configMounts", "overlay by the host's paths", "cat /mnt/o/x /mnt/o/y", func(l *lab, s *specs.Spec) {
			for _, d := range []string{"a", "b"} {
				must(l.t, os.Mkdir(filepath.Join(l.bundle, d), 0o755))
			}
			must(l.t, os.WriteFile(filepath.Join(l.bundle, "a/x"), []byte("upper"), 0o644))
			must(l.t, os.WriteFile(filepath.Join(l.bundle, "b/x"), []byte("lower"), 0o644))
			must(l.t, os.WriteFile(filepath.Join(l.bundle, "b/y"), []byte("too"), 0o644))
			mount(specs.Mount{Destination: "/mnt/o", Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + l.bundle + "/a:" + l.bundle + "/b"}})(l, s)
		}, "^uppertoo$", "", ""},
	}
	for option, want := range map[string]string{
		"ro": "^ro,", "rw": "^rw,", "nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "noatime": "noatime", "nodiratime": "nodiratime",
		"relatime": "relatime", "strictatime": "^rw(,| )", "atime": "rw", "suid": "rw", "dev": "rw", "exec": "rw", "diratime": "rw",
		"norelatime": "rw", "nostrictatime": "rw", "nosymfollow": "nosymfollow", "async": "rw", "dirsync": "rw", "sync": "rw",
		"defaults": "rw", "loud": "rw", "silent": "rw", "lazytime": "rw", "nolazytime": "rw", "iversion": "rw", "noiversion": "rw", "mand": "rw", "nomand": "rw",
		"shared": "shared:", "private": "rw[^:]*$", "slave": "rw", "unbindable": "unbindable",
	} {
		list = append(list, field{"config.md#configLinuxMountOptions", "tmpfs " + option, line("/mnt/t"), tmpfs(option), want, "", differences["tmpfs "+option]})
	}
	for option, want := range map[string]string{
		"ro": "^ro,", "rro": "^ro,", "nosuid": "nosuid", "rnosuid": "nosuid", "nodev": "nodev", "rnodev": "nodev", "noexec": "noexec", "rnoexec": "noexec", "rnoatime": "noatime", "rnodiratime": "nodiratime",
		"rrelatime": "relatime", "rstrictatime": "rw", "rnosymfollow": "nosymfollow", "rshared": "shared:", "rslave": "master:|rw", "rprivate": "rw[^:]*$", "runbindable": "unbindable", "rbind": "rw",
		"rrw": "rw", "rsuid": "rw", "rdev": "rw", "rexec": "rw", "ratime": "rw", "rdiratime": "rw", "rnorelatime": "rw", "rnostrictatime": "rw", "rsymfollow": "rw",
	} {
		list = append(list, field{"config.md#configLinuxMountOptions", "bind " + option, line("/mnt/b"), bound(option), want, "", differences["bind "+option]})
	}
	return list
}

// differences are the cases of the two tables above in which runc's output is another.
var differences = map[string]string{
	"tmpfs shared": "the number of the peer group is arbitrary", "tmpfs slave": "a new file system has no master",
	"bind rshared": "the number of the peer group is arbitrary", "bind rslave": "the number of the peer group is arbitrary",
	"tmpfs defaults": "runc hands it to the file system: " + aFlaw, "bind ratime": "runc clears a part of the kernel's field: " + aFlaw, "bind rnostrictatime": "runc clears a part of the kernel's field: " + aFlaw,
}

func linuxFields() []field {
	list := []field{
		{"config-linux.md#configLinuxNamespaces", "all new", "for n in ipc mnt net pid uts cgroup; do readlink /proc/self/ns/$n; done | sort | uniq | wc -l", nil, "^6$", "", ""},
		{"config-linux.md#configLinuxNamespaces", "network of the host", "ls /proc/sys/net/ipv4/conf | wc -l", func(l *lab, s *specs.Spec) { without(s, specs.NetworkNamespace) }, `^\d+$`, "", ""},
		{"config-linux.md#configLinuxNamespaces", "path", "readlink /proc/self/ns/ipc", func(l *lab, s *specs.Spec) {
			without(s, specs.IPCNamespace)
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: "/proc/self/ns/ipc"})
			s.Mounts = s.Mounts[:4]
		}, "ipc:", "", ""},
		{"config-linux.md#configLinuxNamespaces", "path of another kind", "true", func(l *lab, s *specs.Spec) {
			without(s, specs.IPCNamespace)
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: "/proc/self/ns/net"})
		}, "", "namespace", "the words differ"},
		{"config-linux.md#configLinuxNamespaces", "unknown type", "true", func(l *lab, s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "fog"})
		}, "", "fog", ""},
		{"config-linux.md#configLinuxNamespaces", "twice", "true", func(l *lab, s *specs.Spec) { s.Linux.Namespaces = append(s.Linux.Namespaces, s.Linux.Namespaces[0]) }, "", "pid", "the words differ"},
		{"config-linux.md#configLinuxUserNamespaceMappings", "user namespace", "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '", func(l *lab, s *specs.Spec) { inUserNS(s) }, "(?s) 0 100000 65536\n 0 200000 65536", "", "the bundle of the test is closed to the mapped root, which stops runc; our runtime passes descriptors"},
		{"config-linux.md#configLinuxTimeOffset", "timeOffsets", "cut -d. -f1 /proc/uptime | sed 's/...$//'", func(l *lab, s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 7000000, Nanosecs: 5}, "monotonic": {Secs: 1, Nanosecs: 7}}
		}, "^70", "", newerThanRunc},
		{"config-linux.md#configLinuxDevices", "devices", "stat -c '%F %t:%T %a %u:%g' /dev/x /dev/b /dev/p", func(l *lab, s *specs.Spec) {
			mode := os.FileMode(0o640)
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: ptr(uint32(5)), GID: ptr(uint32(6))},
				{Path: "/dev/b", Type: "b", Major: 7, Minor: 200}, {Path: "/dev/p", Type: "p"}}
			s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		}, "(?s)character special file 1:3 640 5:6\nblock special file 7:c8 666 0:0\nfifo 0:0 666 0:0", "", ""},
		{"config-linux.md#configLinuxDevices", "mode with the type of the file", "stat -c %a /dev/x", func(l *lab, s *specs.Spec) {
			mode := os.FileMode(0o020640)
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: 1, Minor: 3, FileMode: &mode}}
		}, "^640$", "", ""},
		{"config-linux.md#configLinuxDevices", "something else is there", "true", func(l *lab, s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/usr/x", Type: "c", Major: 1, Minor: 3}}
			must(l.t, os.WriteFile(l.path("usr/x"), nil, 0o644))
		}, "", "/usr/x", "runc leaves the file that is there: " + aFlaw},
		{"config-linux.md#configLinuxDefaultDevices", "default devices", "stat -c '%n %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; readlink /dev/ptmx", nil,
			"(?s)null 1:3\n/dev/zero 1:5\n/dev/full 1:7\n/dev/random 1:8\n/dev/urandom 1:9\n/dev/tty 5:0\npts/ptmx", "", ""},
		{"runtime-linux.md#runtimeLinuxDevSymbolicLinks", "links", "for l in fd stdin stdout stderr core; do readlink /dev/$l; done", nil, "(?s)^/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n/proc/kcore$", "", "runc makes no link to /proc/kcore where the kernel has none"},
		{"runtime-linux.md#runtimeLinuxFileDescriptors", "descriptors", "exec ls /proc/self/fd", nil, "(?s)^0\n1\n2\n3$", "", ""},
		{"config-linux.md#configLinuxSysctl", "sysctl", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced", func(l *lab, s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}
		}, "(?s)^1\n1$", "", ""},
		{"config-linux.md#configLinuxSysctl", "sysctl of the host", "true", func(l *lab, s *specs.Spec) { s.Linux.Sysctl = map[string]string{"vm.overcommit_memory": "1"} }, "", "vm.overcommit_memory", ""},
		{"config-linux.md#configLinuxMaskedPaths", "maskedPaths", "ls /usr/dir; cat /etc/passwd", func(l *lab, s *specs.Spec) {
			must(l.t, os.MkdirAll(l.path("usr/dir/inside"), 0o755))
			s.Linux.MaskedPaths = []string{"/usr/dir", "/etc/passwd", "/not/there"}
		}, "^$", "", ""},
		{"config-linux.md#configLinuxMaskedPaths", "relative", "true", func(l *lab, s *specs.Spec) { s.Linux.MaskedPaths = []string{"etc"} }, "", "absolute", "runc takes it: " + aFlaw},
		{"config-linux.md#configLinuxReadonlyPaths", "readonlyPaths", "touch /usr/x 2>&1; touch /var/y && echo fine", func(l *lab, s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/usr", "/not/there"} }, "(?s)Read-only.*fine", "", ""},
		{"config-linux.md#configLinuxReadonlyPaths", "relative", "true", func(l *lab, s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"etc"} }, "", "absolute", "runc takes it: " + aFlaw},
		{"config-linux.md#configLinuxMountLabel", "mountLabel", "echo started", func(l *lab, s *specs.Spec) { s.Linux.MountLabel = "system_u:object_r:x_t:s0" }, "started", "", "without SELinux runc fails; ours warns"},
		{"config-linux.md#configLinuxPersonality", "personality", "uname -m", func(l *lab, s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32} }, "i686|arm", "", newerThanRunc},
		{"config-linux.md#configLinuxPersonality", "flags", "true", func(l *lab, s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"X"}}
		}, "", "flags", newerThanRunc},
		{"config-linux.md#configLinuxMemoryPolicy", "memoryPolicy", "grep -c bind /proc/self/numa_maps", func(l *lab, s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
		}, numaWant(), numaError(), newerThanRunc},
		{"config-linux.md#configLinuxIntelRdt", "intelRdt", "true", func(l *lab, s *specs.Spec) {
			s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "x", L3CacheSchema: "L3:0=f", MemBwSchema: "MB:0=10", Schemata: []string{"L3:0=f"}, EnableMonitoring: true}
		}, "", "resctrl", "this machine has no resctrl; the words differ"},
	}
	for form, want := range map[string]string{"private": "rw[^:]*$", "rprivate": "rw[^:]*$", "slave": "rw", "rslave": "rw", "shared": "shared:", "rshared": "shared:", "unbindable": "unbindable", "runbindable": "unbindable"} {
		list = append(list, field{"config-linux.md#configLinuxRootfsMountPropagation", form, line("/"), func(l *lab, s *specs.Spec) { s.Linux.RootfsPropagation = form }, want, "", "the numbers of peer groups are arbitrary, and runc fails at unbindable"})
	}
	return append(append(list, resourceFields()...), seccompFields()...)
}

func resourceFields() []field {
	return []field{
		{"config-linux.md#configLinuxCgroupsPath", "cgroupsPath", "grep -c elsewhere /proc/self/cgroup", func(l *lab, s *specs.Spec) {
			without(s, specs.CgroupNamespace)
			s.Linux.CgroupsPath = "/oci-elsewhere/" + l.id()
			l.t.Cleanup(func() {
				parents, _ := filepath.Glob("/sys/fs/cgroup/*/oci-elsewhere")
				for _, dir := range parents { // runc leaves it
					os.Remove(dir)
				}
			})
		}, `^[1-9]\d*$`, "", "runc has no group in hierarchies that it does not know"},
		{"config-linux.md#configLinuxCgroupsPath", "bad cgroupsPath", "true", func(l *lab, s *specs.Spec) { s.Linux.CgroupsPath = "/a/../../b" }, "", "cgroup", "runc cleans the path"},
		{"config-linux.md#configLinuxDeviceAllowedlist", "devices", "mknod /tmp/n b 7 0; dd if=/tmp/n of=/dev/null count=0 2>&1; cat /sys/fs/cgroup/devices/devices.list | head -1", resources(func(r *specs.LinuxResources) {
			r.Devices = append(r.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "rw"})
		}), "c 10:229 rw", "", "runc lists its own rules first: " + aFlaw},
		{"config-linux.md#configLinuxMemory", "memory", group("memory", "memory.limit_in_bytes") + " /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/memory/memory.swappiness; head -1 /sys/fs/cgroup/memory/memory.oom_control", resources(func(r *specs.LinuxResources) {
			r.Memory = &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Reservation: ptr(int64(32 << 20)), Swap: ptr(int64(96 << 20)), Swappiness: ptr(uint64(30)), DisableOOMKiller: ptr(true), UseHierarchy: ptr(true), CheckBeforeUpdate: ptr(true)}
		}), "(?s)^67108864\n33554432\n100663296\n30\noom_kill_disable 1$", "", ""},
		{"config-linux.md#configLinuxMemory", "kernel memory", "echo started", resources(func(r *specs.LinuxResources) {
			//lint:ignore SA1019 deprecated members are still taken
			r.Memory = &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), KernelTCP: ptr(int64(32 << 20)), Kernel: ptr(int64(32 << 20))}
		}), "started", "", ""},
		{"config-linux.md#configLinuxCPU", "cpu", "cd /sys/fs/cgroup/cpu; cat cpu.shares cpu.cfs_quota_us cpu.cfs_period_us cpu.cfs_burst_us cpu.idle; cat /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/cpuset/cpuset.mems", resources(func(r *specs.LinuxResources) {
			r.CPU = &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(20000)), Period: ptr(uint64(50000)), Burst: ptr(uint64(1000)), Cpus: "0", Mems: "0"}
		}), "(?s)^512\n20000\n50000\n1000\n0\n0\n0$", "", newerThanRunc},
		{"config-linux.md#configLinuxCPU", "idle", group("cpu", "cpu.idle"), resources(func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Idle: ptr(int64(1))} }), "^1$", "", newerThanRunc},
		{"config-linux.md#configLinuxCPU", "realtime", "true", resources(func(r *specs.LinuxResources) {
			r.CPU = &specs.LinuxCPU{RealtimeRuntime: ptr(int64(1000)), RealtimePeriod: ptr(uint64(100000))}
		}), realtimeWant(), realtimeError(), "this kernel may have no real-time groups"},
		{"config-linux.md#configLinuxPids", "pids", group("pids", "pids.max"), resources(func(r *specs.LinuxResources) { r.Pids = &specs.LinuxPids{Limit: ptr(int64(33))} }), "^33$", "", ""},
		{"config-linux.md#configLinuxBlockIO", "throttle", "cd /sys/fs/cgroup/blkio; cat blkio.throttle.read_bps_device blkio.throttle.write_bps_device blkio.throttle.read_iops_device blkio.throttle.write_iops_device", func(l *lab, s *specs.Spec) {
			d := func(rate uint64) []specs.LinuxThrottleDevice {
				t := specs.LinuxThrottleDevice{Rate: rate}
				t.Major, t.Minor = blockDevice(l.t)
				return []specs.LinuxThrottleDevice{t}
			}
			s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{ThrottleReadBpsDevice: d(1 << 20), ThrottleWriteBpsDevice: d(2 << 20), ThrottleReadIOPSDevice: d(30), ThrottleWriteIOPSDevice: d(40)}
		}, `(?s)1048576\n.*2097152\n.*30\n.*40$`, "", ""},
		{"config-linux.md#configLinuxBlockIO", "weights", "true", func(l *lab, s *specs.Spec) {
			d := specs.LinuxWeightDevice{Weight: ptr(uint16(20)), LeafWeight: ptr(uint16(30))}
			d.Major, d.Minor = blockDevice(l.t)
			s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{Weight: ptr(uint16(100)), LeafWeight: ptr(uint16(200)), WeightDevice: []specs.LinuxWeightDevice{d}}
		}, "", "weight", "the words differ"},
		{"config-linux.md#configLinuxHugePageLimits", "hugepageLimits", "true", resources(func(r *specs.LinuxResources) {
			r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}
		}), mountedWant("hugetlb"), mountedError("hugetlb", "huge"), "the words differ"},
		{"config-linux.md#configLinuxNetwork", "network", "true", resources(func(r *specs.LinuxResources) {
			r.Network = &specs.LinuxNetwork{ClassID: ptr(uint32(0x100001)), Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 3}}}
		}), mountedWant("net_cls"), mountedError("net_cls", "net"), "the words differ"},
		{"config-linux.md#configLinuxRDMA", "rdma", "true", resources(func(r *specs.LinuxResources) {
			r.Rdma = map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(1000))}}
		}), "", "rdma", "the words differ"},
		{"config-linux.md#configLinuxUnified", "unified", "true", resources(func(r *specs.LinuxResources) { r.Unified = map[string]string{"memory.high": "max"} }), "", "unified", "runc ignores it on v1: " + aFlaw},
	}
}

func seccompFields() []field {
	profile := func(p specs.LinuxSeccomp) func(*lab, *specs.Spec) {
		return func(l *lab, s *specs.Spec) {
			p.Architectures = append(p.Architectures, specs.ArchX86_64, specs.ArchAARCH64)
			s.Linux.Seccomp = &p
		}
	}
	rule := func(action specs.LinuxSeccompAction, errno *uint, args ...specs.LinuxSeccompArg) specs.LinuxSeccomp {
		return specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: action, ErrnoRet: errno, Args: args}}}
	}
	list := []field{
		{"config-linux.md#configLinuxSeccomp", "errno", "mkdir /tmp/d 2>&1; true", profile(rule(specs.ActErrno, ptr(uint(28)))), "No space left", "", ""},
		{"config-linux.md#configLinuxSeccomp", "args", "mkdir -m 700 /tmp/a && mkdir /tmp/b 2>&1; true", profile(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"umask"}, Action: specs.ActErrno,
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: 0o77, ValueTwo: 0, Op: specs.OpEqualTo}}}}}), "^$", "", ""},
		{"config-linux.md#configLinuxSeccomp", "without no_new_privs", "mkdir /tmp/d 2>&1; grep NoNewPrivs /proc/self/status", func(l *lab, s *specs.Spec) {
			s.Process.NoNewPrivileges = false
			profile(rule(specs.ActErrno, nil))(l, s)
		}, `(?s)not permitted.*NoNewPrivs:\s0`, "", ""},
		{"config-linux.md#configLinuxSeccomp", "flags", "mkdir /tmp/d 2>&1; sync 2>&1; true", func(l *lab, s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
				Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog}, Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno}}}
		}, "not permitted", "", newerThanRunc},
		{"config-linux.md#configLinuxSeccomp", "errnoRet that means nothing", "true", profile(rule(specs.ActKill, ptr(uint(1)))), "", "errnoRet", "runc ignores it: " + aFlaw},
		{"config-linux.md#configLinuxSeccomp", "defaultErrnoRet that means nothing", "true", profile(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, DefaultErrnoRet: ptr(uint(1))}), "", "errnoRet", "runc ignores it: " + aFlaw},
		{"config-linux.md#configLinuxSeccomp", "unknown action", "true", profile(rule("SCMP_ACT_FOO", nil)), "", "SCMP_ACT_FOO", ""},
		{"config-linux.md#configLinuxSeccomp", "no names", "true", profile(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Action: specs.ActErrno}}}), "", "name", "runc ignores it: " + aFlaw},
		{"config-linux.md#configLinuxSeccomp", "notify without a path", "true", profile(rule(specs.ActNotify, nil)), "", "listenerPath", ""},
		{"config-linux.md#configLinuxSeccomp", "metadata without a path", "true", profile(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerMetadata: "x"}), "", "listenerPath", "runc ignores it: " + aFlaw},
		{"config-linux.md#configLinuxSeccomp", "notify of write", "true", func(l *lab, s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/nowhere", Syscalls: []specs.LinuxSyscall{{Names: []string{"write"}, Action: specs.ActNotify}}}
		}, "", "write", ""},
		{"config-linux.md#configLinuxSeccomp", "listener that is not there", "true", func(l *lab, s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/nowhere", Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}}
		}, "", "/nowhere", ""},
	}
	for action, want := range map[specs.LinuxSeccompAction]string{specs.ActAllow: "^done 0$", specs.ActLog: "^done 0$", specs.ActKillProcess: "done 159", specs.ActKillThread: "done 159", specs.ActKill: "done 159", specs.ActTrap: "done 159"} {
		list = append(list, field{"config-linux.md#configLinuxSeccomp", "action " + string(action), "mkdir /tmp/d 2>/dev/null; echo done $?", profile(rule(action, nil)), want, "", ""})
	}
	list = append(list, field{"config-linux.md#configLinuxSeccomp", "action " + string(specs.ActTrace), "mkdir /tmp/d 2>/dev/null; echo done $?", profile(rule(specs.ActTrace, ptr(uint(7)))), "done 1", "", ""})
	for op, want := range map[specs.LinuxSeccompOperator]string{specs.OpEqualTo: "1 0 0", specs.OpNotEqual: "0 1 1", specs.OpLessThan: "0 1 0", specs.OpLessEqual: "1 1 0", specs.OpGreaterThan: "0 0 1", specs.OpGreaterEqual: "1 0 1", specs.OpMaskedEqual: "1 0 0"} {
		value := specs.LinuxSeccompArg{Index: 1, Value: 0o750, Op: op}
		if op == specs.OpMaskedEqual {
			value.Value, value.ValueTwo = 0o777, 0o750
		}
		list = append(list, field{"config-linux.md#configLinuxSeccomp", "operator " + string(op), `for m in 750 700 777; do mkdir -m $m /tmp/$m 2>/dev/null; printf "$? "; done`, func(l *lab, s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"chmod"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{value}}}}
		}, "^" + want, "", ""})
	}
	return list
}

// TestFields runs each case with our runtime.
func TestFields(t *testing.T) {
	for _, f := range fields() {
		t.Run(f.section+"/"+f.name, func(t *testing.T) {
			f.check(t, runField(t, ours, f))
		})
	}
}

func runField(t *testing.T, bin string, f field) result {
	l := newLab(t, bin)
	s := base(f.script)
	if f.change != nil {
		f.change(l, s)
	}
	return l.run(s)
}

func (f *field) check(t *testing.T, r result) {
	t.Helper()
	switch {
	case f.fails != "" && (r.code == 0 || !strings.Contains(strings.ToLower(r.err), strings.ToLower(f.fails))):
		t.Errorf("exit code %d, %q, %q; want an error with %q", r.code, r.out, r.err, f.fails)
	case f.fails == "" && (r.code != 0 || !regexp.MustCompile(f.want).MatchString(r.out)):
		t.Errorf("exit code %d, %q, %q; want output that matches %q", r.code, r.out, r.err, f.want)
	}
}
