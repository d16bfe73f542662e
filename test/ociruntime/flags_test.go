package ociruntime

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/fdpass"
)

// Flags that runc 1.1.5 does not have, or whose effect the comparison cannot see.

// received listens at a UNIX socket and returns what is sent there, when it is called.
func received(t testing.TB, name string) func() *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
	must(t, unix.Listen(fd, 4))
	return func() *os.File {
		t.Helper()
		conn, _, err := unix.Accept(fd)
		must(t, err)
		defer unix.Close(conn)
		_, files, err := fdpass.Recv(conn, make([]byte, 4096), 1)
		must(t, err)
		if len(files) != 1 {
			t.Fatalf("%d descriptors were sent", len(files))
		}
		return files[0]
	}
}

func pidOf(t *testing.T, pidfd *os.File) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(int(pidfd.Fd())))
	must(t, err)
	for line := range strings.Lines(string(data)) {
		if pid, ok := strings.CutPrefix(line, "Pid:"); ok {
			return strings.TrimSpace(pid)
		}
	}
	t.Fatal("the descriptor is no pidfd")
	return ""
}

func TestPidfdSocket(t *testing.T) {
	l := sleeper(t, nil)
	socket := filepath.Join(l.bundle, "pidfd")
	get := received(t, socket)
	id := l.id()
	l.ok("create", "--pidfd-socket", socket, "--pid-file", "pid", id)
	f := get()
	defer f.Close()
	data, err := os.ReadFile(filepath.Join(l.bundle, "pid"))
	must(t, err)
	if pid := pidOf(t, f); pid != string(data) {
		t.Errorf("the pidfd is of %s, the pid file says %s", pid, data)
	}
	l.ok("start", id)
	l.ok("exec", "--detach", "--pidfd-socket", socket, "--pid-file", "pid", id, "sleep", "100")
	f = get()
	defer f.Close()
	data, err = os.ReadFile(filepath.Join(l.bundle, "pid"))
	must(t, err)
	if pid := pidOf(t, f); pid != string(data) {
		t.Errorf("exec: the pidfd is of %s, the pid file says %s", pid, data)
	}
}

func TestNewKeyring(t *testing.T) {
	if _, err := exec.LookPath("keyctl"); err != nil {
		t.Skip("no keyctl: install the Debian package keyutils")
	}
	l := newLab(t, ours)
	s := base("cat /proc/keys | grep -c oci-test-key; true")
	s.Linux.MaskedPaths = nil
	l.write(s)
	run := func(flags string) string {
		t.Helper()
		script := "keyctl add user oci-test-key secret @s >/dev/null && " + l.bin + " --root " + l.state + " run " + flags + " " + l.id()
		cmd := exec.Command("keyctl", "session", "-", "sh", "-c", script)
		cmd.Dir = l.bundle
		out, err := cmd.Output()
		must(t, err)
		return strings.TrimSpace(string(out))
	}
	if out := run(""); out != "0" {
		t.Errorf("the container sees the caller's keys: %q", out)
	}
	if out := run("--no-new-keyring"); out == "0" {
		t.Error("with --no-new-keyring it does not")
	}
}

func TestExecCgroup(t *testing.T) {
	if !controllerMounted("pids") {
		t.Skip("control groups v1 are not mounted")
	}
	l := sleeper(t, func(s *specs.Spec) { without(s, specs.CgroupNamespace) })
	id := l.id()
	l.ok("run", "-d", id)
	own := ""
	for line := range strings.Lines(l.ok("exec", id, "cat", "/proc/self/cgroup")) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), ":pids:"); ok {
			own = "/sys/fs/cgroup/pids" + path
		}
	}
	must(t, os.Mkdir(own+"/sub", 0o755))
	defer os.Remove(own + "/sub")
	if out := l.ok("exec", "--cgroup", "pids:sub", id, "cat", "/proc/self/cgroup"); !strings.Contains(out, "/sub\n") || strings.Count(out, "/sub\n") != 1 {
		t.Errorf("groups:\n%s", out)
	}
	l.refused("nowhere", "exec", "--cgroup", "pids:nowhere", id, "true")
	l.refused("fog", "exec", "--cgroup", "fog:sub", id, "true")
}

// The program works when its file is called runc.
func TestCalledRunc(t *testing.T) {
	link := filepath.Join(t.TempDir(), "runc")
	must(t, os.Symlink(ours, link))
	l := newLab(t, link)
	l.write(base("echo started"))
	if out := l.ok("run", l.id()); out != "started" {
		t.Errorf("run: %q", out)
	}
	if out := l.ok("--version"); !strings.HasPrefix(out, "runc version ") {
		t.Errorf("version: %q", out)
	}
	l.refused("runc: ", "state", "nobody")
}

// The log file has the error in runc's form, and so has standard error its text.
func TestLogFile(t *testing.T) {
	for format, want := range map[string]string{"json": `{"level":"error","msg":"container nobody does not exist","time":"`, "text": `level=error msg="container nobody does not exist"`} {
		l := newLab(t, ours)
		l.refused("does not exist", "--log", "log", "--log-format", format, "state", "nobody")
		data, err := os.ReadFile(filepath.Join(l.bundle, "log"))
		must(t, err)
		if !strings.Contains(string(data), want) {
			t.Errorf("%s: %q", format, data)
		}
	}
}
