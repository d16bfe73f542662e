package ociruntime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/counts"
)

// attack is a row of SECURITY.md's table: what a container, or who makes its image or
// configuration, tries. It reports whether it succeeded.
type attack struct {
	row     string
	defence string // what kernel/weak switches off
	try     func(l *lab) bool
}

// env switches a defence of the weakened build off.
const env = "SAMPAN_WEAKEN"

func attacks() []attack {
	return []attack{
		{"R1 write to the runtime's program (CVE-2019-5736)", "seal", overwrite},
		{"R2 working directory by a descriptor (CVE-2024-21626)", "cwd", workingDirectory},
		{"R2 descriptors of the caller (CVE-2016-9962)", "descriptors", inherited},
		{"R3 a volume's directory is swapped for a link (CVE-2021-30465)", "inroot", swapped},
		{"R4 a /proc of the image (CVE-2019-19921)", "proclink", fakeProc},
		{"R5 a null device of the image as the mask (CVE-2025-31133)", "masksource", maskSource},
		{"R6 a link at /dev/console (CVE-2025-52565)", "console", console},
		{"R7 files that look like those of /proc (CVE-2025-52881)", "procfs", fakeSysctl},
		{"R8 a mount target outside of the root (CVE-2024-45310)", "inroot", targetOutside},
		{"R9 inheritable capabilities (CVE-2022-29162)", "inheritable", inheritable},
		{"R10 groups of root (CVE-2022-2989)", "groups", groupRights},
		{"R11 the user 4294967295 (CVE-2024-40635)", "ids", lastUser},
		{"R12 a parameter of the host (CVE-2022-0811)", "sysctl", hostSysctl},
		{"R14 a disk of the host", "devices", openDisk},
		{"R15 limits of the group (CVE-2022-0492)", "cgroupro", raiseLimit},
		{"R16 forbidden system calls (CVE-2022-0185)", "seccomp", forbiddenCall},
		{"R17 masked paths (CVE-2017-16539)", "masks", maskedPath},
		{"R19 a link for criu's log in a checkpoint (CVE-2024-8676)", "checkpointlog", logOfCheckpoint},
		{"R19 a checkpoint names a namespace as a stream", "checkpointstreams", streamOfCheckpoint},
		{"R20 an id that is a path (CVE-2014-9358)", "names", pathAsID},
		{"S1 the start socket is abstract (CVE-2020-15257)", "socket", abstractSocket},
		{"S3 /etc/passwd is a FIFO (CVE-2024-5154)", "passwd", passwdFIFO},
	}
}

// TestAttacks: none succeeds; each does against the build in which its defence is
// switched off, so the test can fail.
func TestAttacks(t *testing.T) {
	weakened, err := build(t.TempDir(), "weakened")
	must(t, err)
	for _, a := range attacks() {
		t.Run(a.row, func(t *testing.T) {
			if a.try(newLab(t, ours)) {
				t.Error("the attack succeeded")
			}
			t.Setenv(env, a.defence)
			if !a.try(newLab(t, weakened)) {
				t.Errorf("the attack does not succeed without the defence %q: it shows nothing", a.defence)
			}
		})
	}
}

// What cannot be told by a defence of ours that is on or off.
func TestAttacksWithoutSwitch(t *testing.T) {
	t.Run("R18 annotations never control the runtime (CVE-2024-3154)", func(t *testing.T) {
		l := newLab(t, ours)
		s := base("grep -c . /proc/self/status")
		s.Annotations = map[string]string{"run.oci.keep_original_groups": "1", "org.systemd.property.X": "1", "io.kubernetes.cri-o.seccompNotifierAction": "stop", "org.criu.config": "/evil"}
		if r := l.run(s); r.code != 0 {
			t.Errorf("%s", r.err)
		}
	})
	t.Run("writes to trusted.overlay", func(t *testing.T) {
		if _, err := exec.LookPath("setfattr"); err != nil {
			t.Skip("no setfattr: install the Debian package attr")
		}
		l := newLab(t, ours)
		data, err := os.ReadFile("/usr/bin/setfattr")
		must(t, err)
		must(t, os.WriteFile(l.path("bin/setfattr"), data, 0o755))
		s := base("touch /tmp/f; setfattr -n trusted.overlay.opaque -v y /tmp/f 2>/dev/null && echo written")
		for _, lib := range []string{"/lib", "/lib64", "/usr/lib"} {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: lib, Type: "bind", Source: lib, Options: []string{"rbind", "ro"}})
		}
		if r := l.run(s); strings.Contains(r.out, "written") {
			t.Error("a container without CAP_SYS_ADMIN wrote an attribute of overlay")
		}
	})
}

func allCaps(s *specs.Spec) {
	all := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_MKNOD", "CAP_KILL", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID"}
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	s.Process.NoNewPrivileges = false
}

// overwrite: the container has the runtime execute its own program inside, where it waits
// at a FIFO as its log; meanwhile the program's file is opened for writing as soon as
// nobody executes it.
func overwrite(l *lab) bool {
	program := filepath.Join(l.bundle, "runtime") // a copy: it may be damaged
	data, err := os.ReadFile(l.bin)
	must(l.t, err)
	must(l.t, os.WriteFile(program, data, 0o755))
	must(l.t, unix.Mkfifo(l.path("fifo"), 0o666))
	s := base(`
		while :; do for p in /proc/[0-9]*; do
			case $(readlink $p/exe) in ""|*/busybox) continue;; esac
			exec 5<$p/exe || continue
			while read line; do :; done </fifo
			while test -d $p; do :; done
			for try in $(seq 20000); do echo evil >/proc/self/fd/5 && break; done 2>/dev/null
			echo done >/tried; exit
		done; done`)
	allCaps(s)
	l.write(s)
	id := l.id()
	l.ok("run", "-d", id)
	defer l.call("delete", "--force", id)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--root", l.state, "exec", id, "/proc/self/exe", "--log", "/fifo", "list")
	cmd.Run() //nolint:errcheck // what it comes to does not matter
	until(l.t, "the attempt", func() bool { _, err := os.Stat(l.path("tried")); return err == nil })
	after, err := os.ReadFile(program)
	must(l.t, err)
	return len(after) != len(data)
}

// workingDirectory: a descriptor of the runtime that is a directory of the host's /proc.
func workingDirectory(l *lab) bool {
	for n := 3; n < 50; n++ {
		s := base("")
		// A procfs in which this test's own process is to be seen is not the container's.
		s.Process.Args = []string{"/bin/sh", "-c", fmt.Sprintf("test -e sys/kernel/core_pattern && test -e %d/status && echo escaped; true", os.Getpid())}
		s.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", n)
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"} // for this the runtime has a procfs open
		if strings.Contains(l.run(s).out, "escaped") {
			return true
		}
	}
	return false
}

func inherited(l *lab) bool {
	l.write(base("cat /proc/self/fd/9/hostname 2>/dev/null; ls /proc/self/fd"))
	dir, err := os.Open("/etc")
	must(l.t, err)
	defer dir.Close()
	r := l.callWith(func(c *exec.Cmd) {
		for range 7 {
			c.ExtraFiles = append(c.ExtraFiles, dir) // 3 to 9
		}
	}, "", "run", l.id())
	return strings.Contains(r.out+"\n", "\n9\n")
}

// swapped: while a container starts with a mount below a directory, that is exchanged
// for a link to a directory of the host.
func swapped(l *lab) bool {
	outside := filepath.Join(l.bundle, "outside")
	must(l.t, os.Mkdir(outside, 0o755))
	must(l.t, os.Mkdir(l.path("vol"), 0o755))
	must(l.t, os.Mkdir(l.path("vol/a"), 0o755))
	must(l.t, os.Symlink(outside, l.path("vol/link")))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, l.path("vol/a"), unix.AT_FDCWD, l.path("vol/link"), unix.RENAME_EXCHANGE)
		}
	}()
	defer func() { stop(); <-ended }()
	for i := range counts.Of("attack.race") {
		s := base("true")
		s.Mounts = append(s.Mounts, specs.Mount{Destination: fmt.Sprintf("/vol/a/b%d", i), Type: "tmpfs", Source: "tmpfs"})
		l.run(s)
		if entries, _ := os.ReadDir(outside); len(entries) > 0 {
			return true
		}
	}
	return false
}

func fakeProc(l *lab) bool {
	must(l.t, os.Remove(l.path("proc")))
	must(l.t, os.Mkdir(l.path("evil"), 0o755))
	must(l.t, os.Symlink("/evil", l.path("proc")))
	s := base("test -e /evil/self && echo evil")
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	return strings.Contains(l.run(s).out, "evil")
}

func maskSource(l *lab) bool {
	must(l.t, os.WriteFile(l.path("null"), []byte("secret"), 0o666))
	must(l.t, os.WriteFile(l.path("etc/masked"), []byte("x"), 0o666))
	s := base("cat /etc/masked; echo more >/etc/masked")
	s.Linux.MaskedPaths = []string{"/etc/masked"}
	return strings.Contains(l.run(s).out, "secret")
}

// console: the terminal would be mounted over a file of the image's choice.
func console(l *lab) bool {
	must(l.t, os.WriteFile(l.path("etc/victim"), []byte("victim"), 0o644))
	must(l.t, os.Symlink("/etc/victim", l.path("dev/console")))
	s := base("stat -c %F /etc/victim; sleep 1000")
	s.Mounts = append(s.Mounts[:1:1], s.Mounts[2:3]...) // without a tmpfs at /dev
	must(l.t, os.MkdirAll(l.path("dev/pts"), 0o755))
	s.Process.Terminal = true
	l.write(s)
	socket := filepath.Join(l.bundle, "console")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(l.t, err)
	defer unix.Close(fd)
	must(l.t, unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	must(l.t, unix.Listen(fd, 1))
	id := l.id()
	if l.call("create", "--console-socket", socket, id).code != 0 {
		return false // a link is refused
	}
	return strings.Contains(l.ok("exec", id, "stat", "-c", "%F", "/etc/victim"), "character")
}

func fakeSysctl(l *lab) bool {
	must(l.t, os.MkdirAll(l.path("proc/sys/net/ipv4"), 0o755))
	must(l.t, os.WriteFile(l.path("proc/sys/net/ipv4/ip_forward"), []byte("fake"), 0o644))
	s := base("true")
	s.Mounts = s.Mounts[1:] // no /proc
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	l.run(s)
	data, err := os.ReadFile(l.path("proc/sys/net/ipv4/ip_forward"))
	must(l.t, err)
	return string(data) != "fake"
}

func targetOutside(l *lab) bool {
	outside := filepath.Join(l.bundle, "outside")
	must(l.t, os.Mkdir(outside, 0o755))
	must(l.t, os.Symlink(outside, l.path("link")))
	must(l.t, os.Symlink("../../../../../../../.."+outside, l.path("up")))
	for _, target := range []string{"/link/a", "/up/b"} {
		s := base("true")
		s.Mounts = append(s.Mounts, specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs"})
		l.run(s)
	}
	entries, err := os.ReadDir(outside)
	must(l.t, err)
	return len(entries) > 0
}

func inheritable(l *lab) bool {
	for _, uid := range []uint32{0, 1000} {
		s := base("grep CapInh /proc/self/status; exec sleep 1000")
		s.Process.User.UID = uid
		s.Process.Args = []string{"/bin/sh", "-c", "grep CapInh /proc/self/status"}
		if !strings.Contains(l.run(s).out, "0000000000000000") {
			return true
		}
	}
	return false
}

func groupRights(l *lab) bool {
	must(l.t, os.WriteFile(l.path("etc/closed"), []byte("secret"), 0o607))
	must(l.t, os.Chown(l.path("etc/closed"), 0, 2000))
	must(l.t, os.Chmod(l.path("etc/closed"), 0o607))
	s := base("cat /etc/closed 2>/dev/null; true")
	s.Process.User = specs.User{UID: 1000, GID: 2000}
	return strings.Contains(l.run(s).out, "secret")
}

func lastUser(l *lab) bool {
	s := base("id -u")
	s.Process.User = specs.User{UID: 4294967295, GID: 4294967295}
	return l.run(s).out == "0"
}

// hostSysctl sets a harmless parameter of the host, and puts it back.
func hostSysctl(l *lab) bool {
	const name = "/proc/sys/fs/lease-break-time"
	before, err := os.ReadFile(name)
	must(l.t, err)
	s := base("true")
	s.Linux.Sysctl = map[string]string{"fs.lease-break-time": "47"}
	l.run(s)
	after, err := os.ReadFile(name)
	must(l.t, err)
	must(l.t, os.WriteFile(name, before, 0o644))
	return string(after) != string(before)
}

// openDisk makes the node of a loop device, which every machine may open.
func openDisk(l *lab) bool {
	s := base("mknod /tmp/disk b 7 0 && true </tmp/disk && echo opened")
	allCaps(s)
	return strings.Contains(l.run(s).out, "opened")
}

func raiseLimit(l *lab) bool {
	s := base("echo 3000 >/sys/fs/cgroup/pids/pids.max; cat /sys/fs/cgroup/pids/pids.max; mount -o remount,rw /sys/fs/cgroup/pids 2>/dev/null; echo 3000 >/sys/fs/cgroup/pids/pids.max; cat /sys/fs/cgroup/pids/pids.max")
	s.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr(int64(50))}
	return strings.Contains(l.run(s).out, "3000")
}

func forbiddenCall(l *lab) bool {
	s := base("unshare -n true && echo unshared")
	allCaps(s)
	s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchAARCH64},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"unshare", "fsopen", "io_uring_setup", "bpf"}, Action: specs.ActErrno}}}
	return strings.Contains(l.run(s).out, "unshared")
}

func maskedPath(l *lab) bool {
	must(l.t, os.WriteFile(l.path("etc/secret"), []byte("secret"), 0o644))
	s := base("cat /etc/secret")
	s.Linux.MaskedPaths = []string{"/etc/secret"}
	return strings.Contains(l.run(s).out, "secret")
}

func pathAsID(l *lab) bool {
	l.write(base("exec sleep 1000"))
	outside := filepath.Join(filepath.Dir(l.state), "outside")
	defer os.RemoveAll(outside)
	l.call("create", "../outside")
	_, err := os.Stat(outside)
	l.call("delete", "--force", "../outside")
	odd, _ := filepath.Glob("/sys/fs/cgroup/*/sampan-..")
	for _, dir := range odd { // what a group of that name has as its parent
		os.Remove(dir)
	}
	return err == nil
}

// passwdFIFO: a start would wait for ever.
func passwdFIFO(l *lab) bool {
	must(l.t, os.Remove(l.path("etc/passwd")))
	must(l.t, unix.Mkfifo(l.path("etc/passwd"), 0o644))
	l.write(base("true"))
	cmd := exec.Command(l.bin, "--root", l.state, "run", l.id())
	cmd.Dir = l.bundle
	must(l.t, cmd.Start())
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }() //nolint:errcheck // only its end counts
	const patience = 10 * time.Second
	select {
	case <-done:
		return false
	case <-time.After(patience):
	}
	must(l.t, cmd.Process.Kill())
	<-done
	return true
}
