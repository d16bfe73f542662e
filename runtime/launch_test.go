package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/launch"
)

func TestDefaultSpec(t *testing.T) {
	l := newLab(t)
	got := l.run(l.spec("echo pid $$; hostname; id -u; pwd; echo $TERM; ip addr show lo | head -1; cat /proc/self/cgroup | cut -d: -f3 | sort -u"))
	l.contains("output", got, "pid 1\n", "sampan\n", "0\n", "/\n", "xterm\n", "LOOPBACK,UP")
}

// Nothing of the launching process may reach the program.
func TestDescriptors(t *testing.T) {
	l := newLab(t)
	leak, err := os.Open("/etc")
	l.must(err)
	defer leak.Close()
	_, err = unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0) // not even one that is inherited by execve
	l.must(err)
	c, err := l.launch(l.spec("sleep", "100"))
	l.must(err)
	l.equal("descriptors", descriptors(t, c.Pid), "0 1 2")

	extra, err := os.Open("/etc/hostname")
	l.must(err)
	defer extra.Close()
	preserve := func(s *LaunchSpec) { s.Preserve = []*os.File{extra} }
	c, err = l.launch(l.spec("sleep", "100"), preserve)
	l.must(err)
	l.equal("with a preserved one", descriptors(t, c.Pid), "0 1 2 3")
	host, err := os.ReadFile("/etc/hostname")
	l.must(err)
	l.equal("its content", l.run(l.spec("cat <&3"), preserve), strings.TrimSpace(string(host)))
}

func descriptors(t *testing.T, pid int) string {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestNamespaceMixes(t *testing.T) {
	l := newLab(t)
	kinds := []specs.LinuxNamespaceType{
		specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace,
		specs.CgroupNamespace, specs.TimeNamespace, specs.UserNamespace,
	}
	// Each alone beside the mount namespace, all, none, and all but one.
	var mixes [][]specs.LinuxNamespaceType
	mixes = append(mixes, nil, kinds)
	for i, k := range kinds {
		but := append(append([]specs.LinuxNamespaceType{}, kinds[:i]...), kinds[i+1:]...)
		mixes = append(mixes, []specs.LinuxNamespaceType{k}, but)
	}
	for _, mix := range mixes {
		t.Run(fmt.Sprint(mix), func(t *testing.T) {
			l := l.in(t)
			spec := withSelf(l.spec("for n in pid net ipc uts cgroup time user mnt; do readlink /proc/self/ns/$n; done"), append(mix, specs.MountNamespace)...)
			if !has(mix, specs.UTSNamespace) {
				spec.Hostname = ""
			}
			if has(mix, specs.UserNamespace) {
				mapIDs(spec)
			}
			// mqueue and sysfs need namespaces of the user namespace's own.
			spec.Mounts = spec.Mounts[:4]
			out := strings.Split(l.run(spec), "\n")
			if len(out) != len(nsKinds) {
				t.Fatalf("output %q", out)
			}
			for i, k := range []string{"pid", "net", "ipc", "uts", "cgroup", "time", "user", "mnt"} {
				own, err := os.Readlink("/proc/self/ns/" + k)
				l.must(err)
				want := k == "mnt" || hasFile(mix, k)
				if (out[i] != own) != want {
					t.Errorf("%s namespace: own is %v, want %v", k, out[i] != own, want)
				}
			}
		})
	}
}

func has(list []specs.LinuxNamespaceType, k specs.LinuxNamespaceType) bool {
	for _, x := range list {
		if x == k {
			return true
		}
	}
	return false
}

func hasFile(list []specs.LinuxNamespaceType, file string) bool {
	for _, k := range nsKinds {
		if k.file == file {
			return has(list, k.kind)
		}
	}
	return false
}

func mapIDs(spec *specs.Spec) {
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = m, m
}

func TestJoinNamespaces(t *testing.T) {
	l := newLab(t)
	first, err := l.launch(l.spec("sleep", "100"))
	l.must(err)
	for _, k := range nsKinds {
		if k.kind == specs.TimeNamespace || k.kind == specs.UserNamespace || k.kind == specs.MountNamespace {
			continue
		}
		for _, how := range []string{"descriptor", "path"} {
			t.Run(string(k.kind)+" by "+how, func(t *testing.T) {
				l := l.in(t)
				ns, err := first.Namespace(k.kind)
				l.must(err)
				defer ns.Close()
				want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", first.Pid, k.file))
				l.must(err)
				spec := l.spec("readlink /proc/self/ns/" + k.file)
				if k.kind == specs.UTSNamespace {
					spec.Hostname = ""
				}
				var change []func(*LaunchSpec)
				if how == "descriptor" {
					change = append(change, func(s *LaunchSpec) {
						s.Namespaces = map[specs.LinuxNamespaceType]*os.File{k.kind: ns}
					})
				} else {
					for i := range spec.Linux.Namespaces {
						if spec.Linux.Namespaces[i].Type == k.kind {
							spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/%s", first.Pid, k.file)
						}
					}
				}
				l.equal("namespace", l.run(spec, change...), want)
			})
		}
	}
	t.Run("mount", func(t *testing.T) {
		l := l.in(t)
		ns, err := first.Namespace(specs.MountNamespace)
		l.must(err)
		defer ns.Close()
		spec := l.spec("echo $$; ls /dev/null")
		spec.Mounts, spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = nil, nil, nil
		got := l.run(spec, func(s *LaunchSpec) {
			s.Namespaces = map[specs.LinuxNamespaceType]*os.File{specs.MountNamespace: ns}
		})
		l.equal("output", got, "1\n/dev/null")
	})
}

func TestTimeNamespace(t *testing.T) {
	l := newLab(t)
	spec := withSelf(l.spec("cut -d. -f1 /proc/uptime; echo $$"), specs.MountNamespace, specs.PIDNamespace, specs.TimeNamespace, specs.UTSNamespace)
	l.must(os.Symlink("busybox", filepath.Join(l.root, "bin/cut")))
	const day = 86400
	spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000 * day}, "monotonic": {Secs: 1000 * day}}
	var up, pid int
	if _, err := fmt.Sscan(l.run(spec), &up, &pid); err != nil || up < 1000*day || pid != 1 {
		t.Errorf("uptime %d s, pid %d, error %v", up, pid, err)
	}
	spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {Secs: 1}}
	if err := l.fails(spec); !errors.Is(err, fault.Invalid) {
		t.Errorf("offset of realtime: %v", err)
	}
}

func TestUserNamespace(t *testing.T) {
	l := newLab(t)
	spec := l.spec("id -u; id -g; cat /proc/self/uid_map; touch /dev/shm/x && stat -c %u /dev/shm/x; stat -c %t:%T /dev/null; echo x > /dev/null; hostname; ip addr show lo | head -1; umount / 2>&1; umount -l / 2>&1; umount /proc 2>&1; ls /; ls /proc/1/ns >/dev/null && echo own")
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	mapIDs(spec)
	all := allCaps()
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	b, err := l.launch(spec)
	l.must(err)
	got, _ := b.wait()
	l.contains("output", got, "0\n0\n", "100000      65536", "1:3\n", "sampan\n", "LOOPBACK,UP", "bin\ndev\n", "own\n",
		"umount: can't unmount /: Invalid argument")
	if strings.Contains(got, "empty") {
		t.Errorf("the base of the root can be reached:\n%s", got)
	}
}

func allCaps() []string {
	var out []string
	for _, n := range strings.Fields("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE") {
		out = append(out, "CAP_"+n)
	}
	return out
}

// A privileged container can take the root off; below it there must be nothing.
func TestNothingBelowTheRoot(t *testing.T) {
	l := newLab(t)
	for _, template := range []bool{true, false} {
		t.Run(fmt.Sprintf("template=%v", template), func(t *testing.T) {
			l := l.in(t)
			all := allCaps()
			spec := l.spec("umount -l /; echo $?; sleep 100")
			spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
			var change []func(*LaunchSpec)
			if template {
				ns, err := NewTemplate()
				l.must(err)
				defer ns.Close()
				change = append(change, func(s *LaunchSpec) { s.Template = ns })
			}
			b, err := l.launch(spec, change...)
			l.must(err)
			b.await("0\n")
			// Whoever joins the namespace now finds the base, which has no program,
			// where the host would have one.
			if _, err := b.Exec(&ExecSpec{Process: &specs.Process{Args: []string{"/bin/sh"}, Cwd: "/"}}); !errors.Is(err, ErrNotFound) {
				t.Errorf("exec below the root: %v", err)
			}
		})
	}
}

func TestRootReadOnly(t *testing.T) {
	l := newLab(t)
	spec := l.spec("touch /x 2>&1; touch /dev/shm/y && echo fine")
	spec.Root.Readonly = true
	l.contains("output", l.run(spec), "Read-only file system", "fine")
}

func TestIDs(t *testing.T) {
	l := newLab(t)
	spec := l.spec("id -u; id -g; grep Groups /proc/self/status; umask; touch /tmp/f; stat -c %a /tmp/f; cat /secret 2>&1; true")
	l.must(os.Symlink("busybox", filepath.Join(l.root, "bin/grep")))
	// Mode 0607 of a group the user is in: the group's lack of rights counts.
	l.write("secret", "x", 0o607)
	l.must(os.Chown(filepath.Join(l.root, "secret"), 0, 2000))
	mask := uint32(0o027)
	spec.Process.User = specs.User{UID: 1000, GID: 2000, AdditionalGids: []uint32{3000, 4000}, Umask: &mask}
	l.contains("output", l.run(spec), "1000\n2000\n", "3000 4000", "0027\n", "640\n", "Permission denied")

	spec.Process.User.UID = 0xffffffff
	if err := l.fails(spec); !errors.Is(err, fault.Invalid) {
		t.Errorf("uid -1: %v", err)
	}
}

func TestCapabilities(t *testing.T) {
	l := newLab(t)
	l.must(os.Symlink("busybox", filepath.Join(l.root, "bin/grep")))
	const set = "CAP_CHOWN,CAP_NET_RAW,CAP_SETUID"
	for _, c := range []struct {
		name    string
		uid     uint32
		nnp     bool
		ambient bool
		want    string // Inh Prm Eff Bnd Amb
	}{
		{"root", 0, false, false, "0 2081 2081 2081 0"},
		{"root, no_new_privs", 0, true, false, "0 2081 2081 2081 0"},
		{"user", 1000, false, false, "0 0 0 2081 0"},
		{"user, no_new_privs", 1000, true, false, "0 0 0 2081 0"},
		{"user with ambient", 1000, true, true, "2081 2081 2081 2081 2081"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			spec := l.spec("grep Cap /proc/self/status")
			names := strings.Split(set, ",")
			spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
			if c.ambient {
				spec.Process.Capabilities.Ambient, spec.Process.Capabilities.Inheritable = names, names
			}
			spec.Process.User.UID = c.uid
			spec.Process.NoNewPrivileges = c.nnp
			var got []string
			for _, line := range strings.Split(l.run(spec), "\n") {
				v := strings.TrimLeft(strings.Fields(line)[1], "0")
				if v == "" {
					v = "0"
				}
				got = append(got, v)
			}
			l.equal("sets", strings.Join(got, " "), c.want)
		})
	}
	// A name that is no capability gives nothing, with a warning (config.md, Linux process).
	spec := l.spec("grep CapBnd /proc/self/status")
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_FLY", "CHOWN"}}
	l.contains("bounding set", l.run(spec), "0000000000000000")
}

func TestRlimits(t *testing.T) {
	l := newLab(t)
	spec := l.spec("ulimit -n; ulimit -Hn; ulimit -u; ulimit -c")
	spec.Process.Rlimits = []specs.POSIXRlimit{
		{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_NPROC", Soft: 77, Hard: 77}, {Type: "RLIMIT_CORE"},
	}
	l.equal("limits", l.run(spec), "100\n200\n77\n0")

	spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_BEER"}}
	l.contains("error", l.fails(spec).Error(), "RLIMIT_BEER")
}

// What the machine does not let us do is said, not failed.
func TestDegrade(t *testing.T) {
	l := newLab(t)
	if has := capEffective(unix.CAP_SYS_RESOURCE); has {
		t.Skip("this machine has CAP_SYS_RESOURCE: nothing degrades")
	}
	var said []string
	low := -500
	spec := l.spec("true")
	spec.Process.OOMScoreAdj = &low
	spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1 << 30, Hard: 1 << 30}}
	l.run(spec, func(s *LaunchSpec) { s.Warn = func(text string) { said = append(said, text) } })
	l.contains("warnings", strings.Join(said, "\n"), "OOM score", "NOFILE")
}

func capEffective(n int) bool {
	data, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(data), "\n") {
		var v uint64
		if _, err := fmt.Sscanf(line, "CapEff:\t%x", &v); err == nil {
			return v&(1<<n) != 0
		}
	}
	return false
}

func TestOOMScore(t *testing.T) {
	l := newLab(t)
	score := 321
	spec := l.spec("cat /proc/self/oom_score_adj")
	spec.Process.OOMScoreAdj = &score
	l.equal("score", l.run(spec), "321")
}

func TestSysctl(t *testing.T) {
	l := newLab(t)
	spec := l.spec("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ping_group_range")
	spec.Linux.Sysctl = map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shmmni": "1234", "net/ipv4/ping_group_range": "0 2147483647",
	}
	l.equal("values", l.run(spec), "0\n1234\n0\t2147483647")
	for key, value := range map[string]string{
		"kernel.core_pattern": "|/x", "net.../../kernel.core_pattern": "x", "kernel.shm_rmid_forced+kernel.core_pattern": "x",
		"net.ipv4.nonsense": "1", "net.ipv4.ip_forward\n": "1", "net.ipv4.ip_forward": "1\n2", "vm.swappiness": "1", "": "1",
	} {
		spec.Linux.Sysctl = map[string]string{key: value}
		if err := l.fails(spec); !errors.Is(err, fault.Invalid) {
			t.Errorf("sysctl %q: %v", key, err)
		}
	}
	host := l.spec("true")
	host = withSelf(host, specs.MountNamespace, specs.PIDNamespace, specs.UTSNamespace)
	host.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	if err := l.fails(host); !errors.Is(err, fault.Invalid) {
		t.Errorf("sysctl of the host's network: %v", err)
	}
}

func TestMissingPieces(t *testing.T) {
	l := newLab(t)
	l.write("plain", "text", 0o644)
	l.write("script", "#!/no/such/interpreter\n", 0o755)
	l.write("nothing", "no format", 0o755)
	for _, c := range []struct {
		name  string
		args  []string
		class error
		text  string
	}{
		{"not in PATH", []string{"nope"}, ErrNotFound, `exec: "nope": executable file not found in $PATH`},
		{"missing path", []string{"/nope"}, ErrNotFound, "exec /nope: no such file or directory"},
		{"missing interpreter", []string{"/script"}, ErrNotFound, "exec /script: no such file or directory"},
		{"directory", []string{"/etc"}, ErrNotExecutable, "exec /etc: permission denied"},
		{"not executable", []string{"/plain"}, ErrNotExecutable, "exec /plain: permission denied"},
		{"no format", []string{"/nothing"}, ErrNotExecutable, "exec /nothing: exec format error"},
		{"no command", nil, fault.Invalid, "no command"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			spec := l.spec("true")
			spec.Process.Args = c.args
			err := l.fails(spec)
			if !errors.Is(err, c.class) {
				t.Errorf("class of %v", err)
			}
			l.contains("text", err.Error(), c.text)
		})
	}
}

// What the launching process ignores or blocks must not reach the program.
func TestSignalDispositions(t *testing.T) {
	l := newLab(t)
	type action struct{ handler, flags, restorer, mask uint64 }
	set := func(n unix.Signal, to, old *action) {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
	}
	for _, n := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE, 40, 64} {
		var old action
		set(n, &action{handler: 1}, &old)
		defer set(n, &old, nil)
	}
	c, err := l.launch(l.spec("grep -E 'Sig(Ign|Blk)' /proc/self/status; sleep 100"))
	l.must(err)
	zero := strings.Repeat("0", 16)
	l.contains("launch", c.await("SigIgn:\t"+zero), "SigBlk:\t"+zero)
	file := filepath.Join(l.dir, "out")
	out, err := os.Create(file)
	l.must(err)
	defer out.Close()
	// Not by way of a shell: that one ignores SIGQUIT for what it runs.
	grep := &specs.Process{Args: []string{"/bin/busybox", "grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"}, Cwd: "/"}
	p, err := c.Exec(&ExecSpec{Process: grep, Stdio: [3]*os.File{nil, out, nil}})
	l.must(err)
	launch.Reap(p.Pid)
	p.Close()
	got, err := os.ReadFile(file)
	l.must(err)
	l.contains("exec", string(got), "SigBlk:\t"+zero, "SigIgn:\t"+zero)
}

// A loop of links is a program that cannot be executed, however it is launched.
func TestLinkLoop(t *testing.T) {
	l := newLab(t)
	l.must(os.Symlink("b", filepath.Join(l.root, "bin/a")))
	l.must(os.Symlink("a", filepath.Join(l.root, "bin/b")))
	for _, program := range []string{"/bin/a", "a"} {
		spec := l.spec()
		spec.Process.Args = []string{program}
		if err := l.fails(spec); !errors.Is(err, ErrNotExecutable) || !strings.Contains(err.Error(), "symbolic links") {
			t.Errorf("%s: %v", program, err)
		}
	}
}
