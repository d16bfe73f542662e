package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/runtime"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/shim/handle"
	"github.com/sampan-containers/sampan/shim/wire"
)

const realParent = "/sampan-shim-test"

var realSerial atomic.Int32

// realRoot is a root file system of busybox, shared by the tests as a layer.
func realRoot(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	box, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no static busybox: install the Debian package busybox-static")
	}
	root := t.TempDir()
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("sh cat echo true sleep stty head yes dd tail id ls ps setsid seq touch") {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var dockerCaps = strings.Fields("CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID CAP_SETUID CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE")

// container is a rig with a real container in it.
func realContainer(t *testing.T, root string, args ...string) *rig {
	t.Helper()
	r := plain(t, args...)
	id := fmt.Sprintf("real-%d-%d", os.Getpid(), realSerial.Add(1))
	r.start.Config.ID = id
	r.spec.Process = &specs.Process{
		Args: args, Cwd: "/", Env: []string{"PATH=/bin"},
		Capabilities: &specs.LinuxCapabilities{Bounding: dockerCaps, Effective: dockerCaps, Permitted: dockerCaps},
	}
	r.spec.Hostname = "shim-test"
	r.spec.Mounts = []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
	r.spec.Linux = &specs.Linux{
		CgroupsPath: realParent + "/" + id,
		Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
		},
		MaskedPaths: []string{"/proc/kcore", "/sys/firmware"},
	}
	upper, work := filepath.Join(r.dir, "upper"), filepath.Join(r.dir, "work")
	for _, d := range []string{upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.start.Config.Overlay = &wire.Overlay{Lower: []string{root}, Upper: upper, Work: work}
	t.Cleanup(func() { r.noGroups() })
	return r
}

// groups lists the cgroup directories of the container.
func (r *rig) groups() []string {
	found, err := filepath.Glob("/sys/fs/cgroup/*" + r.spec.Linux.CgroupsPath)
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// noGroups removes what a test has left, and says so. The parent goes with the
// last container. A shim whose exit record need not be durable tells of the end
// before it removes the groups.
func (r *rig) noGroups() {
	for deadline := time.Now().Add(5 * time.Second); len(r.groups()) > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	for _, dir := range r.groups() {
		r.t.Errorf("%s is left over", dir)
		os.Remove(dir)
	}
	parents, _ := filepath.Glob("/sys/fs/cgroup/*" + realParent)
	for _, dir := range parents {
		os.Remove(dir)
	}
}

func TestContainer(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	for _, tc := range []struct {
		name, script string
		code, signal int
		out          string
	}{
		{"echo", "echo $0 pid $$; id -u", 0, 0, "sh pid 1\n0\n"},
		{"code", "exit 42", 42, 0, ""},
		{"only three descriptors", "ls /proc/self/fd | tail -n 1", 0, 0, "3\n"}, // ls has the directory open
		{"children end with it", "sleep 1000 & echo done", 0, 0, "done\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := realContainer(t, root, "sh", "-c", tc.script)
			r.start.Config.ExitSync = true
			r.mustBegin(s)
			if len(r.groups()) == 0 && r.shim.Pid() == 0 {
				t.Error("no cgroup")
			}
			rec := r.wait()
			if rec.Code != tc.code || rec.Signal != tc.signal || rec.Error != "" || rec.OOM {
				t.Errorf("exit = %+v", rec)
			}
			if out, errOut := r.logged(); out != tc.out || errOut != "" {
				t.Errorf("log = %q, %q, want %q", out, errOut, tc.out)
			}
			if left := r.groups(); len(left) > 0 {
				t.Errorf("after the end there is still %v", left)
			}
		})
	}
}

func TestContainerStartFails(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	for _, tc := range []struct {
		name string
		args []string
		want error
		text string
	}{
		{"missing", []string{"nope"}, runtime.ErrNotFound, "executable file not found in $PATH"},
		{"missing path", []string{"/no/such"}, runtime.ErrNotFound, "no such file or directory"},
		{"directory", []string{"/tmp"}, runtime.ErrNotExecutable, "permission denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := realContainer(t, root, tc.args...)
			err := r.begin(s)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error = %v, want %v with %q", err, tc.want, tc.text)
			}
			if left := r.groups(); len(left) > 0 {
				t.Errorf("a failed start leaves %v", left)
			}
		})
	}
}

func TestContainerTerminal(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	r := realContainer(t, root, "sh", "-c", "stty size; read a; echo got $a; read b; exit 7")
	r.start.Config.Terminal, r.start.Config.OpenStdin = true, true
	r.start.Config.Height, r.start.Config.Width = 30, 100
	c := r.attach(handle.Attach{Stdin: true, Stdout: true, DetachKeys: []byte{16, 17}})
	r.mustBegin(s)
	readUntil(t, c, "30 100\r\n")
	fmt.Fprint(c, "hello\r")
	readUntil(t, c, "got hello\r\n")
	c.Write([]byte{16, 17})
	readAll(t, c)
	mine, theirs := socketPair(t)
	if err := r.shim.Attach(ctx(t), handle.Attach{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(mine, "bye\r")
	readAll(t, mine)
	if rec := r.wait(); rec.Code != 7 {
		t.Errorf("exit = %+v", rec)
	}
}

func TestContainerExec(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	r := realContainer(t, root, "sleep", "1000")
	r.mustBegin(s)
	run := func(id string, tty bool, script string) (string, handle.ExecState) {
		t.Helper()
		mine, theirs := socketPair(t)
		p := &specs.Process{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin", "X=y"}, Cwd: "/tmp", Terminal: tty, Capabilities: r.spec.Process.Capabilities}
		if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: id, Process: p, OpenStdin: true, Height: 20, Width: 70,
			Attach: &handle.Attach{Conn: theirs, Stdin: true, Stdout: true, Stderr: true}}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(mine, "input\n")
		out := string(readAll(t, mine))
		st, err := r.shim.ExecState(ctx(t), id)
		if err != nil {
			t.Fatal(err)
		}
		return out, st
	}
	out, st := run("plain", false, "cat /proc/1/comm; echo $X $PWD; read a; echo $a; exit 9")
	if out != "sleep\ny /tmp\ninput\n" || st.Running || st.ExitCode != 9 {
		t.Errorf("got %q, %+v", out, st)
	}
	out, st = run("tty", true, "stty -echo; stty size; read a; echo $a; exit 8")
	if !strings.Contains(out, "20 70\r\n") || !strings.HasSuffix(out, "input\r\n") || st.ExitCode != 8 {
		t.Errorf("got %q, %+v", out, st)
	}
	if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: "missing", Process: &specs.Process{Args: []string{"nope"}, Env: []string{"PATH=/bin"}, Cwd: "/"}}); !errors.Is(err, runtime.ErrNotFound) {
		t.Errorf("missing command: %v", err)
	}
	// What outlives its exec writes on without a signal, and ends with the container.
	if _, st := run("background", false, "setsid sh -c 'sleep 0.2; echo late; touch /tmp/alive' & exit 3"); st.ExitCode != 3 {
		t.Errorf("state = %+v", st)
	}
	alive := filepath.Join(r.start.Config.Overlay.Upper, "tmp/alive")
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(alive); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a background process of an exec died on its output")
		}
	}
	for _, kind := range []string{"network", "pid", "mount", "ipc", "uts"} {
		f, err := r.shim.Namespace(ctx(t), kind)
		if err != nil {
			t.Errorf("namespace %s: %v", kind, err)
			continue
		}
		f.Close()
	}
	waited := make(chan error, 1)
	if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: "long", Process: &specs.Process{Args: []string{"sleep", "1000"}, Env: []string{"PATH=/bin"}, Cwd: "/"}}); err != nil {
		t.Fatal(err)
	}
	go func() {
		st, err := r.shim.ExecWait(context.Background(), "long")
		if err == nil && st.ExitCode != 137 {
			err = fmt.Errorf("state = %+v", st)
		}
		waited <- err
	}()
	if err := r.shim.Signal(ctx(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if rec := r.wait(); rec.Code != 137 || rec.Signal != 9 {
		t.Errorf("exit = %+v", rec)
	}
}

// Without a pid namespace the others do not end with the first process: the shim
// kills them, reads what they wrote, and reaps them.
func TestContainerInHostPids(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	r := realContainer(t, root, "sh", "-c", "setsid sleep 1000 & (sleep 0.05 &) ; echo end")
	r.spec.Linux.Namespaces = r.spec.Linux.Namespaces[1:]
	r.mustBegin(s)
	if rec := r.wait(); rec.Code != 0 || rec.Error != "" {
		t.Errorf("exit = %+v", rec)
	}
	if out, _ := r.logged(); out != "end\n" {
		t.Errorf("log = %q", out)
	}
}

func TestContainerInUserNamespace(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	r := realContainer(t, root, "sleep", "1000")
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	r.spec.Linux.Namespaces = append(r.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	r.spec.Linux.UIDMappings, r.spec.Linux.GIDMappings = ids, ids
	for dir := r.dir; dir != "/tmp"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o711) // the overlay's layers are reached as the mapped root
	}
	r.mustBegin(s)
	mine, theirs := socketPair(t)
	p := &specs.Process{Args: []string{"sh", "-c", "id -u; cat /proc/self/uid_map"}, Env: []string{"PATH=/bin"}, Cwd: "/"}
	if _, err := r.shim.Exec(ctx(t), handle.ExecRequest{ID: "u", Process: p, Attach: &handle.Attach{Conn: theirs, Stdout: true, Stderr: true}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(readAll(t, mine))); fmt.Sprint(got) != "[0 0 100000 65536]" {
		t.Errorf("got %q", got)
	}
}

func TestContainerOutOfMemory(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	r := realContainer(t, root, "sh", "-c", "x=x; while true; do x=$x$x; done")
	limit := int64(16 << 20)
	r.spec.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}
	r.mustBegin(s)
	if rec := r.wait(); rec.Code != 137 || !rec.OOM {
		t.Errorf("exit = %+v, want 137 by the OOM killer", rec)
	}
}

func TestContainerWhoseShimIsKilled(t *testing.T) {
	s, root := newSpawner(t), realRoot(t)
	r := realContainer(t, root, "sh", "-c", "sleep 1000 & sleep 1000")
	other := realContainer(t, root, "sleep", "1000")
	r.mustBegin(s)
	other.mustBegin(s)
	pidfd, err := unix.PidfdOpen(r.shim.Pid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := unix.Kill(r.shim.ShimPid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-r.shim.Done()
	if _, err := r.shim.Exit(); !errors.Is(err, handle.ErrLost) {
		t.Errorf("Exit = %v", err)
	}
	mustEnd(t, pidfd)
	// What the daemon does then.
	g, err := cgroup.Load(r.spec.Linux.CgroupsPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Kill(ctx(t)), g.Remove(ctx(t))); err != nil {
		t.Error(err)
	}
	if err := other.shim.Resize(ctx(t), 1, 1); err == nil || errors.Is(err, handle.ErrEnded) {
		t.Errorf("the neighbour: %v, want its complaint that it has no terminal", err)
	}
}

// The memory budget, on the binary that users run.
func TestMemoryOfTwenty(t *testing.T) {
	root := realRoot(t)
	binary := filepath.Join(t.TempDir(), "sampan-runtime")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "../../cmd/sampan-runtime")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build sampan-runtime: %v\n%s", err, out)
	}
	s, err := handle.NewSpawner(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 20
	var rigs []*rig
	for range n {
		r := realContainer(t, root, "sleep", "1000")
		r.mustBegin(s)
		rigs = append(rigs, r)
	}
	const maxPSS, maxDirty = 1200, 1024
	var pss, dirty int
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		pss, dirty = 0, 0
		for _, r := range rigs {
			pss += r.smaps("Pss:")
			dirty += r.smaps("Private_Dirty:")
		}
		if pss/n <= maxPSS && dirty/n <= maxDirty {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("with %d running each has PSS %d kB (limit %d), private dirty %d kB (limit %d)", n, pss/n, maxPSS, dirty/n, maxDirty)
			break
		}
	}
	t.Logf("with %d running each has PSS %d kB, private dirty %d kB", n, pss/n, dirty/n)
}
