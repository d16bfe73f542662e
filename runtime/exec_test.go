package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/pidfd"
	"github.com/sampan-containers/sampan/runtime/cgroup"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// exec runs a command in the container and returns its output and status.
func (b *box) exec(p *specs.Process) (string, syscall.WaitStatus) {
	b.l.t.Helper()
	out, err := os.CreateTemp(b.l.dir, "exec")
	b.l.must(err)
	defer out.Close()
	proc, err := b.Exec(&ExecSpec{Process: p, Stdio: [3]*os.File{nil, out, out}})
	b.l.must(err)
	defer proc.Close()
	status, ok := launch.Reap(proc.Pid)
	if !ok {
		b.l.t.Fatalf("exec: pid %d is not our child", proc.Pid)
	}
	data, err := os.ReadFile(out.Name())
	b.l.must(err)
	return strings.TrimRight(string(data), "\n"), status
}

func shell(command string) *specs.Process {
	return &specs.Process{
		Args: []string{"sh", "-c", command}, Cwd: "/", Env: []string{"PATH=/bin"},
		Capabilities: &specs.LinuxCapabilities{Bounding: runcCaps, Effective: runcCaps, Permitted: runcCaps},
	}
}

func TestExec(t *testing.T) {
	l := newLab(t)
	l.must(os.Symlink("busybox", filepath.Join(l.root, "bin/grep")))
	for _, c := range []struct {
		name string
		make func() *specs.Spec
	}{
		{"default", func() *specs.Spec { return l.spec("sleep", "100") }},
		{"user namespace", func() *specs.Spec {
			s := l.spec("sleep", "100")
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}, specs.LinuxNamespace{Type: specs.TimeNamespace})
			mapIDs(s)
			return s
		}},
		{"host's pids", func() *specs.Spec {
			return withSelf(l.spec("sleep", "100"), specs.MountNamespace, specs.UTSNamespace, specs.NetworkNamespace)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			spec := c.make()
			b, err := l.launch(spec)
			l.must(err)
			loaded, err := Load(b.ID, b.Pid, spec, b.Cgroup)
			l.must(err)
			defer loaded.Close()
			for _, target := range []*box{b, {loaded, l, b.out}} {
				out, status := target.exec(shell("for n in pid net ipc uts cgroup time user mnt; do readlink /proc/self/ns/$n; done; exit 9"))
				if status.ExitStatus() != 9 {
					t.Errorf("status %d; want 9", status.ExitStatus())
				}
				var want []string
				for _, n := range strings.Fields("pid net ipc uts cgroup time user mnt") {
					ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", b.Pid, n))
					l.must(err)
					want = append(want, ns)
				}
				l.equal("namespaces", out, strings.Join(want, "\n"))
			}
			user := shell("id -u; id -g; pwd; grep CapEff /proc/self/status; cat /proc/self/cgroup > /tmp/c; grep -c $ /tmp/c >/dev/null; echo $A")
			user.User = specs.User{UID: 1000, GID: 1000}
			user.Cwd, user.Env = "/tmp", append(user.Env, "A=b")
			out, _ := b.exec(user)
			l.contains("as a user", out, "1000\n1000\n/tmp\n", "0000000000000000", "b")

			groups, err := b.Cgroup.Procs()
			l.must(err)
			p, err := b.Exec(&ExecSpec{Process: &specs.Process{Args: []string{"/bin/sleep", "100"}, Cwd: "/"}})
			l.must(err)
			now, err := b.Cgroup.Procs()
			l.must(err)
			if len(now) != len(groups)+1 {
				t.Errorf("processes of the group: %v before, %v after", groups, now)
			}
			l.equal("descriptors", descriptors(t, p.Pid), "0 1 2")
			l.must(unix.Kill(p.Pid, unix.SIGKILL))
			launch.Reap(p.Pid)
			p.Close()
		})
	}
}

func TestExecErrors(t *testing.T) {
	l := newLab(t)
	b, err := l.launch(l.spec("sleep", "100"))
	l.must(err)
	for _, c := range []struct {
		name  string
		p     specs.Process
		class error
		text  string
	}{
		{"not in PATH", specs.Process{Args: []string{"nope"}, Cwd: "/"}, ErrNotFound, `exec: "nope": executable file not found in $PATH`},
		{"directory", specs.Process{Args: []string{"/etc"}, Cwd: "/"}, ErrNotExecutable, "exec /etc: permission denied"},
		{"directory missing", specs.Process{Args: []string{"/bin/true"}, Cwd: "/nowhere"}, fault.Invalid, "change to the working directory /nowhere: it does not exist"},
		{"no command", specs.Process{Cwd: "/"}, fault.Invalid, "no command"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := b.Exec(&ExecSpec{Process: &c.p})
			if !errors.Is(err, c.class) {
				t.Fatalf("error %v", err)
			}
			l.contains("text", err.Error(), c.text)
		})
	}
	// Nothing of all that may be left: no process, not even a zombie of ours.
	procs, err := b.Cgroup.Procs()
	l.must(err)
	if len(procs) != 1 {
		t.Errorf("processes left in the group: %v", procs)
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil); pid > 0 {
		t.Errorf("a zombie is left: %d, %v", pid, err)
	}
	l.must(unix.Kill(b.Pid, unix.SIGKILL))
	b.wait()
	if _, err := b.Exec(&ExecSpec{Process: shell("true")}); !errors.Is(err, fault.Conflict) {
		t.Errorf("exec in an ended container: %v", err)
	}
}

// readAll reads a terminal's master to its end (EIO).
func readAll(t *testing.T, f *os.File) string {
	t.Helper()
	data, err := io.ReadAll(f)
	if err != nil && !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

func TestTerminal(t *testing.T) {
	l := newLab(t)
	l.write("etc/group", "tty:x:5:\n", 0o644)
	const command = "tty; stty size; test -c /dev/console && stat -c %t:%T /dev/console; echo hello > /dev/tty; ps -o pid,tty,args | grep -v grep | head -3; stat -c '%u %g' /dev/pts/0"
	l.must(os.Symlink("busybox", filepath.Join(l.root, "bin/grep")))
	for _, user := range []uint32{0, 1000} {
		t.Run(fmt.Sprintf("user %d", user), func(t *testing.T) {
			l := l.in(t)
			spec := l.spec(command)
			spec.Process.Terminal = true
			spec.Process.User.UID = user
			spec.Process.ConsoleSize = &specs.Box{Height: 33, Width: 99}
			b, err := l.launch(spec)
			l.must(err)
			defer b.Console.Close()
			out := readAll(t, b.Console)
			l.contains("output", out, "/dev/pts/0\n33 99\n88:0\nhello\n", fmt.Sprintf("%d 5\n", user))
			if _, status := b.wait(); status.ExitStatus() != 0 {
				t.Errorf("status %d", status.ExitStatus())
			}
		})
	}

	spec := l.spec("true")
	spec.Process.Terminal = true
	spec.Mounts = spec.Mounts[:2]
	if err := l.fails(spec); !errors.Is(err, fault.Invalid) {
		t.Errorf("terminal without devpts: %v", err)
	}
}

func TestExecTerminal(t *testing.T) {
	l := newLab(t)
	l.must(os.Symlink("busybox", filepath.Join(l.root, "bin/grep")))
	spec := l.spec("sleep", "100")
	b, err := l.launch(spec)
	l.must(err)
	loaded, err := Load(b.ID, b.Pid, spec, b.Cgroup)
	l.must(err)
	defer loaded.Close()
	for i, c := range []*Container{b.Container, loaded} {
		p := shell("tty; stty size; echo hello > /dev/tty; ls /proc/self/fd | wc -l")
		p.Terminal, p.ConsoleSize = true, &specs.Box{Height: 12, Width: 34}
		proc, err := c.Exec(&ExecSpec{Process: p})
		l.must(err)
		out := readAll(t, proc.Console)
		l.contains("output", out, "/dev/pts/0\n12 34\nhello\n4")
		if status, ok := launch.Reap(proc.Pid); !ok || status.ExitStatus() != 0 {
			t.Errorf("%d: status %d, ours %v", i, status.ExitStatus(), ok)
		}
		proc.Close()
	}
}

func TestHold(t *testing.T) {
	l := newLab(t)
	hold := func(s *LaunchSpec) { s.Hold = true }
	b, err := l.launch(l.spec("echo started"), hold)
	l.must(err)
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", b.Pid)); err != nil || strings.TrimSpace(string(name)) == "sh" {
		t.Errorf("before Start the process is %q, %v", name, err)
	}
	l.equal("descriptors while it is held", descriptors(t, b.Pid), "0 1 2 3")
	l.must(b.Start())
	out, _ := b.wait()
	l.equal("output", out, "started\n")
	if err := b.Start(); !errors.Is(err, fault.Conflict) {
		t.Errorf("second Start: %v", err)
	}

	spec := l.spec("true")
	spec.Process.Args = []string{"nope"}
	b, err = l.launch(spec, hold)
	l.must(err)
	if err := b.Start(); !errors.Is(err, ErrNotFound) {
		t.Errorf("Start without a program: %v", err)
	}
}

func TestRelease(t *testing.T) {
	l := newLab(t)
	first, err := l.launch(l.spec("sleep", "100"))
	l.must(err)
	pidns, err := first.Namespace(specs.PIDNamespace)
	l.must(err)
	defer pidns.Close()
	for _, c := range []struct {
		name   string
		args   []string
		uid    uint32
		join   bool
		class  error
		output string
	}{
		{name: "fine", args: []string{"echo", "started"}, output: "started\n"},
		{name: "missing", args: []string{"nope"}, class: ErrNotFound},
		{name: "directory", args: []string{"/etc"}, class: ErrNotExecutable},
		{name: "in a joined PID namespace", args: []string{"echo", "started"}, join: true, output: "started\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			spec := l.spec("true")
			spec.Process.Args = c.args
			state := t.TempDir()
			sock, err := Listen(state)
			l.must(err)
			b, err := l.launch(spec, func(s *LaunchSpec) {
				s.Hold, s.HoldSocket = true, sock
				if c.join {
					s.Namespaces = map[specs.LinuxNamespaceType]*os.File{specs.PIDNamespace: pidns}
				}
			})
			sock.Close()
			l.must(err)
			err = Release(context.Background(), state, spec, nil)
			if !errors.Is(err, c.class) || (err == nil) != (c.class == nil) {
				t.Fatalf("error %v; want %v", err, c.class)
			}
			if out, _ := b.wait(); c.class == nil {
				l.equal("output", out, c.output)
			}
			if err := Release(context.Background(), state, spec, nil); !errors.Is(err, fault.Conflict) {
				t.Errorf("second start: %v", err)
			}
		})
	}
}

// TestDieWithParent kills a process that launched a container: the test binary itself,
// started again.
func TestDieWithParent(t *testing.T) {
	const helper = "SAMPAN_TEST_BUNDLE"
	if dir := os.Getenv(helper); dir != "" {
		dieWithParentHelper(dir)
	}
	l := newLab(t)
	for _, uid := range []uint32{0, 1000} {
		spec := l.spec("sleep", "100")
		spec.Process.User.UID = uid
		data, err := json.Marshal(spec)
		l.must(err)
		l.must(os.WriteFile(filepath.Join(l.dir, "config.json"), data, 0o644))
		cmd := exec.Command("/proc/self/exe", "-test.run=TestDieWithParent")
		cmd.Env = append(os.Environ(), helper+"="+l.dir)
		out, err := cmd.StdoutPipe()
		l.must(err)
		l.must(cmd.Start())
		var pid int
		var group string
		if _, err := fmt.Fscanln(out, &pid, &group); err != nil {
			t.Fatal(err)
		}
		p, err := pidfd.Open(pid)
		l.must(err)
		defer p.Close()
		l.must(cmd.Process.Kill())
		_ = cmd.Wait()
		if ended, err := pidfd.Ended(p, 10*time.Second); !ended || err != nil {
			t.Errorf("uid %d: the container outlives its supervisor: ended %v, %v", uid, ended, err)
			_ = pidfd.Signal(p, syscall.SIGKILL)
		}
		g, err := cgroup.Load(group)
		l.must(err)
		l.must(RemoveGroup(g))
	}
}

func dieWithParentHelper(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	spec := new(specs.Spec)
	if err == nil {
		err = json.Unmarshal(data, spec)
	}
	id := fmt.Sprintf("launch-test-%d", os.Getpid())
	var c *Container
	if err == nil {
		c, err = Launch(&LaunchSpec{ID: id, Spec: spec, Bundle: dir, DieWithParent: true})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.Pid, "/sampan/"+id)
	for {
		time.Sleep(time.Hour)
	}
}

func TestHooks(t *testing.T) {
	l := newLab(t)
	mark := filepath.Join(l.dir, "mark")
	l.write("hook", "#!/bin/sh\ncat > /tmp/state; echo $A >> /tmp/state\n", 0o755)
	host := func(name string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat > /dev/null; echo " + name + " >> " + mark}}}
	}
	spec := l.spec("cat /tmp/state")
	spec.Hooks = &specs.Hooks{
		//lint:ignore SA1019 prestart is deprecated, not removed
		Prestart: host("prestart"), CreateRuntime: host("createRuntime"), Poststart: host("poststart"), Poststop: host("poststop"),
		StartContainer: []specs.Hook{{Path: "/hook", Args: []string{"hook"}, Env: []string{"A=environment", "PATH=/bin"}}},
	}
	b, err := l.launch(spec)
	l.must(err)
	out, _ := b.wait()
	l.contains("state in the container", out, `"id":"`+b.ID+`"`, `"status":"created"`, `"pid":1,`, "environment")
	l.must(b.Destroy())
	data, err := os.ReadFile(mark)
	l.must(err)
	l.equal("hooks", string(data), "prestart\ncreateRuntime\npoststart\npoststop\n")

	spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo no luck; exit 3"}}}}
	l.contains("failing hook", l.fails(spec).Error(), "createRuntime hook #0: /bin/sh: exit status 3: no luck")
	spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/false"}}}
	l.contains("failing hook inside", l.fails(spec).Error(), "error running startContainer hook #0: /bin/false", "it ended with a failure")
	one := 1
	spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "60"}, Timeout: &one}}}
	start := time.Now()
	l.contains("slow hook", l.fails(spec).Error(), "did not end in its time")
	if time.Since(start) > 30*time.Second {
		t.Error("the time-out had no effect")
	}
}
