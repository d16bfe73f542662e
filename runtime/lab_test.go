package runtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime/launch"
)

// lab is a bundle with a busybox root.
type lab struct {
	t    testing.TB
	dir  string
	root string
}

var serial atomic.Int32

func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	box, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no static busybox: install the Debian package busybox-static")
	}
	l := &lab{t: t, dir: t.TempDir()}
	l.root = filepath.Join(l.dir, "rootfs")
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp", "root", "usr/bin", "var"} {
		l.must(os.MkdirAll(filepath.Join(l.root, d), 0o755))
	}
	l.must(os.Chmod(filepath.Join(l.root, "tmp"), 0o777|os.ModeSticky))
	data, err := os.ReadFile(box)
	l.must(err)
	l.must(os.WriteFile(filepath.Join(l.root, "bin/busybox"), data, 0o755))
	for _, name := range strings.Fields("sh ls cat id echo true false sleep mount umount readlink stat hostname touch mkdir ip tty stty kill wc head env pwd chmod sysctl dd ps test printf mknod unshare") {
		l.must(os.Symlink("busybox", filepath.Join(l.root, "bin", name)))
	}
	l.must(os.WriteFile(filepath.Join(l.root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) write(name, text string, mode os.FileMode) {
	l.t.Helper()
	path := filepath.Join(l.root, name)
	l.must(os.MkdirAll(filepath.Dir(path), 0o755))
	l.must(os.WriteFile(path, []byte(text), mode))
	l.must(os.Chmod(path, mode))
}

var runcCaps = []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}

// spec is what `runc spec` writes, for a shell command.
func (l *lab) spec(command ...string) *specs.Spec {
	if len(command) == 1 {
		command = []string{"/bin/sh", "-c", command[0]}
	}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Args: command, Cwd: "/", Env: []string{"PATH=/bin:/usr/bin", "TERM=xterm"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: runcCaps, Effective: runcCaps, Permitted: runcCaps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Root:     &specs.Root{Path: "rootfs"},
		Hostname: "sampan",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
				"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func (l *lab) id() string {
	return fmt.Sprintf("launch-test-%d-%d", os.Getpid(), serial.Add(1))
}

// box is a launched container of a test, with its output.
type box struct {
	*Container
	l   *lab
	out *os.File
}

// launch starts a container whose output goes to a file.
func (l *lab) launch(spec *specs.Spec, change ...func(*LaunchSpec)) (*box, error) {
	l.t.Helper()
	out, err := os.CreateTemp(l.dir, "out")
	l.must(err)
	s := &LaunchSpec{
		ID: l.id(), Spec: spec, Bundle: l.dir, Stdio: [3]*os.File{nil, out, out},
		Warn: func(text string) { l.t.Log("warning: " + text) },
	}
	for _, f := range change {
		f(s)
	}
	c, err := Launch(s)
	if err != nil {
		out.Close()
		return nil, err
	}
	b := &box{c, l, out}
	l.t.Cleanup(func() {
		_ = unix.Kill(c.Pid, unix.SIGKILL)
		launch.Reap(c.Pid)
		if err := c.Destroy(); err != nil {
			l.t.Errorf("destroy: %v", err)
		}
		out.Close()
	})
	return b, nil
}

// wait returns output and status of the container.
func (b *box) wait() (string, syscall.WaitStatus) {
	b.l.t.Helper()
	status, ok := launch.Reap(b.Pid)
	if !ok {
		b.l.t.Fatalf("pid %d is not our child", b.Pid)
	}
	data, err := os.ReadFile(b.out.Name())
	b.l.must(err)
	return string(data), status
}

// await returns once the container has written text.
func (b *box) await(text string) string {
	b.l.t.Helper()
	for range 2000 {
		data, err := os.ReadFile(b.out.Name())
		b.l.must(err)
		if strings.Contains(string(data), text) {
			return string(data)
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.l.t.Fatalf("%q was not written", text)
	return ""
}

// run runs a container to its end and returns its output; it must succeed.
func (l *lab) run(spec *specs.Spec, change ...func(*LaunchSpec)) string {
	l.t.Helper()
	b, err := l.launch(spec, change...)
	l.must(err)
	out, status := b.wait()
	if status.ExitStatus() != 0 {
		l.t.Fatalf("exit status %d, signal %d, output:\n%s", status.ExitStatus(), status.Signal(), out)
	}
	return strings.TrimRight(out, "\n")
}

// fails launches a container that must not start and returns the error's text.
func (l *lab) fails(spec *specs.Spec, change ...func(*LaunchSpec)) error {
	l.t.Helper()
	b, err := l.launch(spec, change...)
	if err == nil {
		out, _ := b.wait()
		l.t.Fatalf("it started, output:\n%s", out)
	}
	return err
}

func (l *lab) equal(what, got, want string) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}

func (l *lab) contains(what, got string, want ...string) {
	l.t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			l.t.Errorf("%s: %q is missing in\n%s", what, w, got)
		}
	}
}

func clone[T any](t *testing.T, v *T) *T {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(out); err != nil {
		t.Fatal(err)
	}
	return out
}

func withSelf(spec *specs.Spec, namespaces ...specs.LinuxNamespaceType) *specs.Spec {
	spec.Linux.Namespaces = nil
	for _, n := range namespaces {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: n})
	}
	return spec
}

// in is the lab for a subtest.
func (l *lab) in(t *testing.T) *lab {
	sub := *l
	sub.t = t
	return &sub
}
