// Package ociruntime tests sampan-runtime as its callers see it: a program that is given
// bundles and command lines. It holds the conformance table of the OCI runtime
// specification (every MUST, every field of the schema), a comparison with Debian's runc
// on the same configurations and command lines, the attacks of SECURITY.md with builds
// that are weakened on purpose, and the loops that must leave nothing behind.
//
// The tests need root, a busybox, and for the comparison runc.
package ociruntime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// module is where `go` commands are run.
const module = "../.."

// ours is the path of the runtime under test, built once.
var ours string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "swrk" {
		os.Exit(fakeCriu()) // this program was given as the runtime's --criu
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ociruntime")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if ours, err = build(dir, ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	// runc leaves criu's complaints about this kernel where it runs.
	logs, _ := filepath.Glob("runc-criu-log-*.log")
	for _, log := range logs {
		os.Remove(log)
	}
	return code
}

// build builds the runtime with a build tag, or without one.
func build(dir, tag string) (string, error) {
	if _, err := exec.LookPath("go"); err != nil && tag == "" {
		return filepath.Abs(module + "/bin/sampan-runtime") // the virtual machine
	}
	bin := filepath.Join(dir, "sampan-runtime"+tag)
	cmd := exec.Command("go", "build", "-trimpath", "-tags", tag, "-o", bin, "./cmd/sampan-runtime")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the runtime: %w: %s", err, out)
	}
	return bin, nil
}

// lab is a bundle with a busybox root, and a runtime with a root directory of its own.
type lab struct {
	t      testing.TB
	bin    string
	bundle string
	state  string
}

var serial atomic.Int32

func newLab(t testing.TB, bin string) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install the Debian package busybox-static")
	}
	l := &lab{t: t, bin: bin, bundle: t.TempDir(), state: t.TempDir()}
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp", "root", "usr", "var", "mnt"} {
		must(t, os.MkdirAll(l.path(d), 0o755))
	}
	must(t, os.Chmod(l.path("tmp"), 0o777|os.ModeSticky))
	data, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(l.path("bin/busybox"), data, 0o755))
	for name := range strings.FieldsSeq("sh ls cat id echo true false sleep mount umount readlink stat hostname touch mkdir rm rmdir ip tty stty kill wc head tail env pwd chmod sysctl dd ps test printf mknod unshare grep sed awk sort tr uname nc date ionice chrt taskset ulimit seq find cut") {
		must(t, os.Symlink("busybox", l.path("bin/"+name)))
	}
	must(t, os.WriteFile(l.path("etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
	t.Cleanup(l.clean)
	return l
}

// path is a file of the root file system.
func (l *lab) path(name string) string { return filepath.Join(l.bundle, "rootfs", name) }

func (l *lab) clean() {
	entries, _ := os.ReadDir(l.state)
	for _, e := range entries {
		l.call("delete", "--force", e.Name())
	}
}

func (l *lab) id() string { return fmt.Sprintf("oci-%d-%d", os.Getpid(), serial.Add(1)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

// base is what `runc spec` writes, for a shell script.
func base(script string) *specs.Spec {
	caps := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	s := &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			Args: []string{"/bin/sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/bin", "TERM=xterm"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Root:     &specs.Root{Path: "rootfs"},
		Hostname: "box",
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
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/sys"},
		},
	}
	for _, kind := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.MountNamespace, specs.CgroupNamespace} {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
	}
	return s
}

func without(s *specs.Spec, kind specs.LinuxNamespaceType) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

func inUserNS(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
}

// used are the fields of all configurations that were written, for the conformance table.
var used = struct {
	sync.Mutex
	fields map[string]bool
}{fields: map[string]bool{}}

// write makes the bundle's config.json out of a specification or of a text.
func (l *lab) write(spec any) {
	l.t.Helper()
	data, ok := spec.([]byte)
	if !ok {
		var err error
		data, err = json.MarshalIndent(spec, "", " ")
		must(l.t, err)
	}
	var tree any
	if json.Unmarshal(data, &tree) == nil && l.bin == ours {
		used.Lock()
		note("", tree, used.fields)
		used.Unlock()
	}
	must(l.t, os.WriteFile(filepath.Join(l.bundle, "config.json"), data, 0o644))
}

// note collects the paths of a document's members: "linux.resources.memory.limit". The
// elements of a list have the path of the list.
func note(path string, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			p := strings.TrimPrefix(path+"."+key, ".")
			into[p] = true
			note(p, member, into)
		}
	case []any:
		for _, e := range v {
			note(path, e, into)
		}
	}
}

// result is the end of a command.
type result struct {
	code     int
	out, err string
}

// limit ends a command that hangs.
const limit = 2 * time.Minute

func (l *lab) call(args ...string) result { return l.callWith(nil, "", args...) }

func (l *lab) callWith(change func(*exec.Cmd), input string, args ...string) result {
	l.t.Helper()
	cmd := exec.Command(l.bin, append([]string{"--root", l.state}, args...)...)
	cmd.Dir = l.bundle
	// Files, not pipes: a detached container keeps what it was given.
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp("", "ociruntime-out")
		must(l.t, err)
		os.Remove(f.Name())
		defer f.Close()
		files[i] = f
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), files[0], files[1]
	if input == "" {
		cmd.Stdin = nil
	}
	if change != nil {
		change(cmd)
	}
	must(l.t, cmd.Start())
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	read := func(f *os.File) string {
		data := make([]byte, 1<<20)
		n, _ := f.ReadAt(data, 0)
		return string(bytes.TrimRight(data[:n], "\n"))
	}
	return result{cmd.ProcessState.ExitCode(), read(files[0]), read(files[1])}
}

// ok calls and wants exit code 0.
func (l *lab) ok(args ...string) string {
	l.t.Helper()
	r := l.call(args...)
	if r.code != 0 {
		l.t.Fatalf("%q: exit code %d: %s", args, r.code, r.err)
	}
	return r.out
}

// refused calls and wants a failure that says text.
func (l *lab) refused(text string, args ...string) {
	l.t.Helper()
	if r := l.call(args...); r.code == 0 || !strings.Contains(r.err, text) {
		l.t.Errorf("%q: exit code %d, %q; want a failure with %q", args, r.code, r.err, text)
	}
}

// run runs a specification to its end.
func (l *lab) run(spec any) result {
	l.t.Helper()
	l.write(spec)
	return l.call("run", l.id())
}

// status is the state of a container, or nothing if there is none.
func (l *lab) status(id string) string {
	var s specs.State
	if r := l.call("state", id); r.code == 0 {
		must(l.t, json.Unmarshal([]byte(r.out), &s))
	}
	return string(s.Status)
}

// until waits for a condition; time decides nothing but that a test fails at last.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 1200 {
		if done() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s did not come", what)
}
