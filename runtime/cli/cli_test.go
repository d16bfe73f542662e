package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/fdpass"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/cli/config"
	"github.com/sampan-containers/sampan/runtime/cli/example"
	"github.com/sampan-containers/sampan/runtime/cli/record"
	"github.com/sampan-containers/sampan/runtime/systemd"
)

// asRuntime makes the test binary behave as the runtime: what is tested is a process
// with its exit code, its descriptors and its children.
const asRuntime = "SAMPAN_TEST_RUNTIME"

func TestMain(m *testing.M) {
	if os.Getenv(asRuntime) != "" {
		p := &Program{Version: "test", Commit: "none", Args: os.Args, Stdout: os.Stdout, Stderr: os.Stderr}
		os.Exit(p.Main())
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab is a bundle with busybox and a root for records, and a way to call the runtime.
type lab struct {
	t            *testing.T
	bundle, root string
}

func newLab(t *testing.T, change func(*specs.Spec)) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("starting containers needs root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("busybox is not installed (Debian package busybox-static)")
	}
	l := &lab{t: t, bundle: t.TempDir(), root: filepath.Join(t.TempDir(), "records")}
	bin := filepath.Join(l.bundle, "rootfs", "bin")
	must(t, os.MkdirAll(bin, 0o755))
	data, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bin, "busybox"), data, 0o755))
	for _, name := range []string{"sh", "sleep", "true", "cat", "id", "stty", "ls"} {
		must(t, os.Symlink("busybox", filepath.Join(bin, name)))
	}
	l.spec(change)
	t.Cleanup(l.clean)
	return l
}

// spec writes the bundle's config.json anew.
func (l *lab) spec(change func(*specs.Spec)) {
	l.t.Helper()
	s := example.Spec(true)
	s.Process.Terminal = false
	s.Process.Args = []string{"/bin/sleep", "100"}
	if change != nil {
		change(s)
	}
	data, err := json.Marshal(s)
	must(l.t, err)
	must(l.t, os.WriteFile(filepath.Join(l.bundle, config.File), data, 0o644))
}

func args(list ...string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Args = list }
}

// id makes an id that no other test has: control groups are shared by all.
func (l *lab) id(name string) string { return fmt.Sprintf("test-%d-%s", os.Getpid(), name) }

func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"--root", l.root}, args...)...)
	cmd.Env = append(os.Environ(), asRuntime+"=1")
	cmd.Dir = l.bundle
	return cmd
}

// call runs the runtime with its output in files, as a caller would that does not
// wait for the container to close a pipe.
func (l *lab) call(args ...string) (code int, stdout, stderr string) {
	l.t.Helper()
	cmd := l.command(args...)
	dir := l.t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	must(l.t, err)
	defer out.Close()
	fail, err := os.Create(filepath.Join(dir, "err"))
	must(l.t, err)
	defer fail.Close()
	cmd.Stdout, cmd.Stderr = out, fail
	if err = cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		l.t.Fatal(err)
	}
	o, err := os.ReadFile(out.Name())
	must(l.t, err)
	e, err := os.ReadFile(fail.Name())
	must(l.t, err)
	return cmd.ProcessState.ExitCode(), string(o), string(e)
}

func (l *lab) ok(args ...string) string {
	l.t.Helper()
	code, out, errs := l.call(args...)
	if code != 0 {
		l.t.Fatalf("%q: exit code %d, %s", args, code, errs)
	}
	return out
}

// refused wants an exit code and one line on standard error.
func (l *lab) refused(want int, text string, args ...string) {
	l.t.Helper()
	code, _, errs := l.call(args...)
	if code != want || !strings.HasPrefix(errs, "sampan-runtime: ") || !strings.Contains(errs, text) || strings.Count(errs, "\n") != 1 {
		l.t.Errorf("%q: exit code %d, %q; want %d and %q", args, code, errs, want, text)
	}
}

func (l *lab) status(id string) string {
	l.t.Helper()
	var v view
	must(l.t, json.Unmarshal([]byte(l.ok("state", id)), &v))
	return v.Status
}

// until waits for something that other processes bring about.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("did not happen: %s", what)
}

// clean deletes all containers of the lab and fails if anything of them is left.
func (l *lab) clean() {
	entries, _ := os.ReadDir(l.root)
	for _, e := range entries {
		if code, _, errs := l.call("delete", "--force", e.Name()); code != 0 {
			l.t.Errorf("delete --force %s: %s", e.Name(), errs)
		}
	}
	m, err := filepath.Glob("/sys/fs/cgroup/*/sampan-" + l.id("*"))
	if err != nil || len(m) > 0 {
		l.t.Errorf("control groups are left behind: %v, %v", m, err)
	}
}

func TestRun(t *testing.T) {
	l := newLab(t, nil)
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"output", []string{"/bin/sh", "-c", "echo $$ $PATH; echo oops >&2"}, 0, "1 /usr/local"},
		{"exit code", []string{"/bin/sh", "-c", "exit 42"}, 42, ""},
		{"signal", []string{"/bin/sh", "-c", "sh -c 'kill -9 $$'; exit $?"}, 137, ""},
		{"search path", []string{"sh", "-c", "echo found"}, 0, "found"},
		{"capabilities", []string{"/bin/sh", "-c", "cat /proc/self/status"}, 0, "CapEff:\t0000000020000420"},
		{"descriptors", []string{"/bin/sh", "-c", "cd /proc/self/fd; echo *"}, 0, "0 1 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.spec(args(tt.args...))
			code, out, errs := l.call("run", l.id("run"))
			if code != tt.code || !strings.Contains(out, tt.out) {
				t.Errorf("exit code %d, %q, %q; want %d and %q", code, out, errs, tt.code, tt.out)
			}
		})
	}
	if list := l.ok("list", "-q"); list != "" {
		t.Errorf("run left %q", list)
	}
}

func TestRunRefuses(t *testing.T) {
	l := newLab(t, nil)
	for _, tt := range []struct {
		name   string
		change func(*specs.Spec)
		code   int
		text   string
	}{
		{"missing program", args("/nope"), 1, "no such file or directory"},
		{"missing in PATH", args("nope"), 1, "executable file not found in $PATH"},
		{"directory", args("/bin"), 1, "permission denied"},
		{"no arguments", args(), 1, "process.args is empty"},
		{"mount source", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "/no/such/dir", Type: "bind", Options: []string{"bind"}})
		}, 1, "/no/such/dir"},
		{"sysctl", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.core_pattern": "x"} }, 1, "not namespaced"},
		{"memory", func(s *specs.Spec) {
			one := int64(1)
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &one}
		}, 1, "memory limit of 1 byte"},
		{"terminal", func(s *specs.Spec) { s.Process.Terminal = true }, 1, "no terminal"},
		{"root", func(s *specs.Spec) { s.Root.Path = "nowhere" }, 1, "nowhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.spec(tt.change)
			l.t = t
			l.refused(tt.code, tt.text, "run", l.id("refused"))
			if entries, err := os.ReadDir(l.root); len(entries) > 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
	l.t = t
	l.refused(1, "a/b", "run", "a/b")
	l.refused(1, `".."`, "delete", "--force", "..")
	l.refused(1, "does not exist", "state", "nobody")
	l.refused(1, "no config.json", "run", "--bundle", "/", "x")
	l.refused(1, "container x does not exist", "checkpoint", "x")
	l.refused(3, "No help topic for 'frob'", "frob")
	l.refused(1, `no option "--frob"`, "run", "--frob", "x")
	l.refused(1, "needs a value", "run", "x", "--bundle")
	if !systemd.Running() {
		l.refused(1, "systemd cannot be reached", "--systemd-cgroup", "run", "x")
	}
	must(t, os.WriteFile(filepath.Join(l.bundle, config.File), []byte("{"+strings.Repeat("[", 100000)), 0o644))
	l.refused(1, "is not valid", "run", "x")
}

func TestLifecycle(t *testing.T) {
	l := newLab(t, args("/bin/sh", "-c", "trap 'exit 3' TERM; echo started; while :; do sleep 0.01; done"))
	id := l.id("life")
	pidFile := filepath.Join(t.TempDir(), "pid")
	l.ok("create", "--pid-file", pidFile, id)
	if s := l.status(id); s != record.Created {
		t.Fatalf("after create: %s", s)
	}
	data, err := os.ReadFile(pidFile)
	must(t, err)
	pid, err := strconv.Atoi(string(data))
	must(t, err)
	l.refused(1, "container with id exists", "create", id)
	l.ok("start", id)
	if s := l.status(id); s != record.Running {
		t.Fatalf("after start: %s", s)
	}
	l.refused(1, "it is running already", "start", id)
	l.refused(1, "not stopped: running", "delete", id)

	var list []map[string]any
	must(t, json.Unmarshal([]byte(l.ok("list", "--format", "json")), &list))
	keys := []string{}
	for k := range list[0] {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if want := []string{"bundle", "created", "id", "ociVersion", "owner", "pid", "rootfs", "status"}; !slices.Equal(keys, want) {
		t.Errorf("list has the keys %q, runc has %q", keys, want)
	}
	if int(list[0]["pid"].(float64)) != pid {
		t.Errorf("the pid file has %d, list %v", pid, list[0]["pid"])
	}

	l.ok("pause", id)
	if s := l.status(id); s != record.Paused {
		t.Errorf("after pause: %s", s)
	}
	l.refused(255, "in a paused container", "exec", id, "/bin/true")
	l.ok("resume", id)

	if out := l.ok("exec", "--env", "X=y", "--cwd", "/bin", id, "/bin/sh", "-c", "echo $X $PWD"); out != "y /bin\n" {
		t.Errorf("exec: %q", out)
	}
	if out := l.ok("exec", "--user", "12:34", id, "/bin/id"); !strings.Contains(out, "uid=12 gid=34") {
		t.Errorf("exec --user: %q", out)
	}
	l.refused(255, "no such file", "exec", id, "/nope")
	l.refused(255, "permission denied", "exec", id, "/bin")
	if code, _, _ := l.call("exec", id, "/bin/sh", "-c", "exit 9"); code != 9 {
		t.Errorf("exec exit 9: %d", code)
	}
	l.refused(255, "is not a number", "exec", "--user", "-1", id, "/bin/id")
	l.refused(255, "is not a number", "exec", "--user", "4294967296", id, "/bin/id")
	l.refused(255, "out of range", "exec", "--user", "4294967295", id, "/bin/id")

	l.refused(1, "no signal", "kill", id, "FROB")
	l.ok("kill", id, "TERM")
	until(t, "the container ends", func() bool { return l.status(id) == record.Stopped })
	l.refused(1, "container not running", "kill", id)
	l.refused(1, "it has stopped", "start", id)
	l.ok("delete", id)
	l.refused(1, "does not exist", "state", id)
	l.refused(1, "does not exist", "delete", id)
	l.ok("delete", "--force", id)
}

func TestDeleteForce(t *testing.T) {
	l := newLab(t, nil)
	id := l.id("force")
	l.ok("run", "--detach", id)
	if s := l.status(id); s != record.Running {
		t.Fatal(s)
	}
	l.ok("exec", "--detach", id, "/bin/sleep", "100")
	l.ok("delete", "-f", id)
	l.ok("create", id)
	l.refused(1, "not stopped: created", "delete", id)
	l.ok("delete", "--force", id)
}

func TestStartFails(t *testing.T) {
	l := newLab(t, args("/bin/broken"))
	must(t, os.WriteFile(filepath.Join(l.bundle, "rootfs/bin/broken"), []byte("#!/no/such/interpreter\n"), 0o755))
	id := l.id("broken")
	code, _, errs := l.call("create", id)
	if code == 0 {
		l.refused(1, "/bin/broken", "start", id)
		until(t, "the container ends", func() bool { return l.status(id) == record.Stopped })
	} else if code != 1 {
		t.Errorf("create: %d, %s", code, errs)
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	l := newLab(t, args("/bin/sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.01; done"))
	cmd := l.command("run", l.id("signals"))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	buf := make([]byte, 6)
	_, err = io.ReadFull(out, buf)
	must(t, err)
	must(t, cmd.Process.Signal(unix.SIGUSR1))
	rest, err := io.ReadAll(out)
	must(t, err)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 5 || string(rest) != "got\n" {
		t.Errorf("exit code %d, %q", code, rest)
	}
}

func TestOneWinner(t *testing.T) {
	l := newLab(t, nil)
	id := l.id("storm")
	codes := make([]int, 8)
	var wg sync.WaitGroup
	for i := range codes {
		cmd := l.command("create", id)
		wg.Go(func() { cmd.Run(); codes[i] = cmd.ProcessState.ExitCode() })
	}
	wg.Wait()
	slices.Sort(codes)
	if !slices.Equal(codes, []int{0, 1, 1, 1, 1, 1, 1, 1}) {
		t.Errorf("exit codes %v", codes)
	}
	if s := l.status(id); s != record.Created {
		t.Error(s)
	}
}

func TestPreservedDescriptors(t *testing.T) {
	l := newLab(t, args("/bin/cat", "/proc/self/fd/4"))
	r, w, err := os.Pipe()
	must(t, err)
	_, err = w.WriteString("through")
	must(t, err)
	w.Close()
	cmd := l.command("run", "--preserve-fds", "2", l.id("fds"))
	cmd.ExtraFiles = []*os.File{r, r}
	out, err := cmd.Output()
	if err != nil || string(out) != "through" {
		t.Errorf("%q, %v", out, err)
	}
	r.Close()
	l.refused(1, "not open", "run", "--preserve-fds", "900", l.id("fds"))
}

func TestConsoleSocket(t *testing.T) {
	l := newLab(t, func(s *specs.Spec) {
		s.Process.Terminal = true
		s.Process.ConsoleSize = &specs.Box{Height: 11, Width: 22}
		s.Process.Args = []string{"/bin/sh", "-c", "stty size; ls -l /proc/self/fd/0; read x; echo got $x"}
	})
	name := filepath.Join(l.bundle, "console.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
	must(t, unix.Listen(fd, 1))
	id := l.id("console")
	l.refused(1, "--console-socket", "create", id)
	l.ok("create", "--console-socket", name, id)
	conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	must(t, err)
	defer unix.Close(conn)
	_, files, err := fdpass.Recv(conn, make([]byte, 4096), 1)
	must(t, err)
	defer files[0].Close()
	l.ok("start", id)
	_, err = files[0].WriteString("hi\n")
	must(t, err)
	var all bytes.Buffer
	_, _ = io.Copy(&all, files[0]) // ends with EIO
	if s := all.String(); !strings.Contains(s, "11 22") || !strings.Contains(s, "/dev/pts/0") || !strings.Contains(s, "got hi") {
		t.Errorf("the terminal showed %q", s)
	}
}

// A create that is killed on its way leaves something that delete --force removes.
func TestHalfMade(t *testing.T) {
	l := newLab(t, nil)
	id := l.id("half")
	must(t, os.MkdirAll(filepath.Join(l.root, id), 0o700))
	g, err := cgroup.Create("/sampan-"+id, nil, cgroup.Options{})
	must(t, err)
	g.Close()
	l.refused(1, "was not created completely", "state", id)
	if list := l.ok("list"); strings.Contains(list, id) {
		t.Errorf("list shows %q", list)
	}
	l.refused(1, "container with id exists", "create", id)
	l.ok("delete", "--force", id)
	l.ok("run", "-d", id)
}

func TestLog(t *testing.T) {
	l := newLab(t, args("/nope"))
	file := filepath.Join(t.TempDir(), "log")
	l.refused(1, "/nope", "--log", file, "--log-format", "json", "--debug", "run", l.id("log"))
	data, err := os.ReadFile(file)
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	var last struct{ Level, Msg string }
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	if last.Level != "error" || !strings.Contains(last.Msg, "/nope") {
		t.Errorf("the last line is %+v", last)
	}
}

func TestHooks(t *testing.T) {
	l := newLab(t, nil)
	file := filepath.Join(t.TempDir(), "hooks")
	hook := func(name string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat >>" + file + "; echo ' " + name + "' >>" + file}}}
	}
	l.spec(func(s *specs.Spec) {
		s.Process.Args = []string{"/bin/true"}
		s.Hooks = &specs.Hooks{CreateRuntime: hook("createRuntime"), Poststart: hook("poststart"), Poststop: hook("poststop")}
	})
	id := l.id("hooks")
	l.ok("create", id)
	l.ok("start", id)
	until(t, "the container ends", func() bool { return l.status(id) == record.Stopped })
	l.ok("delete", id)
	data, err := os.ReadFile(file)
	must(t, err)
	var order []string
	for line := range strings.Lines(string(data)) {
		text, name, _ := strings.Cut(strings.TrimSpace(line), "} ")
		var s specs.State
		must(t, json.Unmarshal([]byte(text+"}"), &s))
		if s.ID != id {
			t.Errorf("%s got the state %+v", name, s)
		}
		order = append(order, name)
	}
	if !slices.Equal(order, []string{"createRuntime", "poststart", "poststop"}) {
		t.Errorf("hooks ran as %q", order)
	}
}

func TestFlags(t *testing.T) {
	var set bool
	var text string
	var list []string
	var number int
	f := flags{{names: "set s", set: &set}, {names: "text t", text: &text}, {names: "list", list: &list}, {names: "number", number: &number}, {names: "no", set: new(bool), refuse: "because"}}
	rest, err := f.parse([]string{"a", "-s", "--text", "x", "-list=1", "--list", "2", "--number", "7", "--no=false", "b", "--", "-s"}, true)
	if err != nil || !set || text != "x" || !slices.Equal(list, []string{"1", "2"}) || number != 7 || !slices.Equal(rest, []string{"a", "b", "-s"}) {
		t.Errorf("%v %q %q %d %q, %v", set, text, list, number, rest, err)
	}
	if rest, err = f.parse([]string{"-s=false", "a", "-t", "x"}, false); err != nil || set || !slices.Equal(rest, []string{"a", "-t", "x"}) {
		t.Errorf("%v %q, %v", set, rest, err)
	}
	for _, bad := range [][]string{{"--nope"}, {"--text"}, {"--number", "x"}, {"--number=-1"}, {"--set=maybe"}, {"--no"}} {
		if _, err := f.parse(bad, true); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestExampleAndFeatures(t *testing.T) {
	l := newLab(t, nil)
	dir := t.TempDir()
	l.ok("spec", "--bundle", dir)
	if _, spec, _, err := config.Load(dir, false); err != nil || spec.Process.Args[0] != "sh" {
		t.Errorf("the example does not pass: %v", err)
	}
	l.refused(1, "exists already", "spec", "-b", dir)
	var f map[string]any
	must(t, json.Unmarshal([]byte(l.ok("features")), &f))
	if f["ociVersionMax"] != specs.Version {
		t.Errorf("features: %v", f["ociVersionMax"])
	}
	for _, c := range commands() {
		if c.run != nil && !strings.Contains(l.ok(c.name, "--help"), "sampan-runtime "+c.name+" - ") {
			t.Errorf("%s --help", c.name)
		}
	}
}

// The watcher's timer slack must not reach the container, to which a thread's passes.
func TestTimerSlack(t *testing.T) {
	want, err := os.ReadFile("/proc/self/timerslack_ns")
	must(t, err)
	l := newLab(t, args("/bin/cat", "/proc/self/timerslack_ns"))
	if got := l.ok("run", l.id("slack")); got != string(want) {
		t.Errorf("in the container: %q, ours %q", got, want)
	}
}
