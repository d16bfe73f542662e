package runtime

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/kernel/pidfd"
	"github.com/sampan-containers/sampan/runtime/launch"
)

// The numbers are the rows of the attack table of the security document.

const corePattern = "/proc/sys/kernel/core_pattern"

// canary fails the test if the host's core_pattern changes.
func canary(t *testing.T) {
	before, err := os.ReadFile(corePattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		after, err := os.ReadFile(corePattern)
		if err != nil || string(after) != string(before) {
			t.Errorf("core_pattern of the host became %q (%v)", after, err)
			_ = os.WriteFile(corePattern, before, 0)
		}
	})
}

// R1, CVE-2019-5736: a program that leads back to the launching program's own binary.
func TestAttackSelfExe(t *testing.T) {
	const helper = "SAMPAN_TEST_SEALED"
	if dir := os.Getenv(helper); dir != "" {
		selfExeHelper(dir)
	}
	l := newLab(t)
	sum := func() [32]byte {
		data, err := os.ReadFile("/proc/self/exe")
		l.must(err)
		return sha256.Sum256(data)
	}
	before := sum()
	l.write("evil", "#!/proc/self/exe\n", 0o755)
	cmd := exec.Command("/proc/self/exe", "-test.run=TestAttackSelfExe")
	cmd.Env = append(os.Environ(), helper+"="+l.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.contains("helper", string(out), "sealed: operation not permitted")
	if sum() != before {
		t.Error("the binary changed")
	}
}

// selfExeHelper runs the attack from a sealed process.
func selfExeHelper(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fail(SealSelf())
	// The pages of a running program cannot be written; the attack waits for its end, and
	// so do we: with a second copy that does not run.
	self, err := os.Open("/proc/self/exe")
	fail(err)
	second, err := SealedCopy(self)
	fail(err)
	_, err = second.WriteAt([]byte("evil"), 0)
	var number syscall.Errno
	errors.As(err, &number)
	fmt.Println("sealed:", number)
	if !isSealed(self) {
		fail(errors.New("the running program is not the sealed copy"))
	}
	l := &lab{dir: dir}
	for _, program := range []string{"/evil", "/proc/self/exe"} {
		spec := l.spec("true")
		spec.Process.Args = []string{program, "-test.run=XXX"}
		c, err := Launch(&LaunchSpec{ID: fmt.Sprintf("launch-test-seal-%d", os.Getpid()), Spec: spec, Bundle: dir})
		if err == nil { // it is our program, in the container
			fmt.Println("launched")
			launch.Reap(c.Pid)
			fail(c.Destroy())
		} else {
			fmt.Println(err)
		}
	}
	os.Exit(0)
}

// R2, CVE-2024-21626: a working directory that is a descriptor of the launching process.
func TestAttackWorkingDirectory(t *testing.T) {
	l := newLab(t)
	b, err := l.launch(l.spec("sleep", "100"))
	l.must(err)
	leak, err := os.Open("/")
	l.must(err)
	defer leak.Close()
	_, err = unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0)
	l.must(err)
	l.must(os.Symlink("/proc/self/fd", filepath.Join(l.root, "fds")))
	for n := 3; n <= 50; n++ {
		for _, dir := range []string{fmt.Sprintf("/proc/self/fd/%d", n), fmt.Sprintf("/fds/%d", n)} {
			spec := l.spec("true")
			spec.Process.Cwd = dir
			if err := l.fails(spec); !errors.Is(err, fault.Invalid) {
				t.Errorf("launch in %s: %v", dir, err)
			}
			p := shell("true")
			p.Cwd = dir
			if _, err := b.Exec(&ExecSpec{Process: p}); !errors.Is(err, fault.Invalid) {
				t.Errorf("exec in %s: %v", dir, err)
			}
		}
	}
}

// R2, CVE-2016-9962: a container's root with CAP_SYS_PTRACE stops each process that
// enters its PID namespace and looks at its descriptors and its directories. What it
// may find is what the process has anyway, and the report socket. The tracer is the
// test binary itself.
func TestAttackTraceExec(t *testing.T) {
	const helper = "SAMPAN_TEST_TRACER"
	if os.Getenv(helper) != "" {
		tracer()
	}
	l := newLab(t)
	self, err := os.ReadFile("/proc/self/exe")
	l.must(err)
	l.must(os.WriteFile(filepath.Join(l.root, "bin/tracer"), self, 0o755))
	all := allCaps()
	spec := l.spec("/bin/tracer", "-test.run=TestAttackTraceExec")
	spec.Process.Env = append(spec.Process.Env, helper+"=1")
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	b, err := l.launch(spec, func(s *LaunchSpec) { s.Warn = nil })
	if errors.Is(err, ErrNotFound) {
		t.Skip("the test binary is linked dynamically (-race) and does not run in the container")
	}
	l.must(err)
	b.await("ready")
	for range 300 {
		p, err := b.Exec(&ExecSpec{Process: &specs.Process{Args: []string{"/bin/true"}, Cwd: "/"}})
		l.must(err)
		launch.Reap(p.Pid)
		p.Close()
	}
	l.must(pidfd.Signal(b.PidFD, unix.SIGKILL))
	out, _ := b.wait()
	before := 0 // processes that were caught before their execve
	for _, line := range strings.Split(out, "\n") {
		what, target, ok := strings.Cut(line, " -> ")
		if !ok {
			continue
		}
		if what == "exe" && !strings.HasSuffix(target, "busybox") {
			before++
		}
		fine := what == "exe" || target == "/dev/null" || target == "/" || strings.HasPrefix(target, "socket:") || target == ""
		if !fine {
			t.Errorf("a process in the container's PID namespace has %q", line)
		}
	}
	if !strings.Contains(out, "caught") {
		t.Error("the tracer caught no process, so nothing was shown")
	}
	t.Logf("%d processes caught, %d of them before their execve", strings.Count(out, "caught"), before)
}

// tracer attaches to every process that it sees and prints what that has open.
func tracer() {
	goruntime.LockOSThread()
	fmt.Println("ready")
	self := os.Getpid()
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); { // the test kills it before
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == self || syscall.PtraceAttach(pid) != nil {
				continue
			}
			var status syscall.WaitStatus
			if _, err := syscall.Wait4(pid, &status, unix.WALL, nil); err == nil && status.Stopped() {
				fmt.Println("caught", pid)
				fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
				names := []string{"cwd", "root", "exe"}
				for _, f := range fds {
					names = append(names, "fd/"+f.Name())
				}
				for _, n := range names {
					target, _ := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, n))
					fmt.Println(n, "->", target)
				}
				_ = syscall.PtraceDetach(pid)
				// The stop of the attach may still be pending, behind that of the execve.
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
		}
	}
	os.Exit(1)
}

// R4: a /proc that the image provides.
func TestAttackFakeProc(t *testing.T) {
	l := newLab(t)
	canary(t)
	l.must(os.Mkdir(filepath.Join(l.root, "evil"), 0o755))
	l.must(os.Remove(filepath.Join(l.root, "proc")))
	l.must(os.Symlink("/evil", filepath.Join(l.root, "proc")))
	l.contains("/proc is a link", l.fails(l.spec("true")).Error(), "mount proc at /proc: a symbolic link is in the way")
	l.must(os.Remove(filepath.Join(l.root, "proc")))
	l.must(os.Mkdir(filepath.Join(l.root, "proc"), 0o755))

	l.must(os.Symlink("/proc/self", filepath.Join(l.root, "way")))
	for _, target := range []string{"/way/attr", "/way", "/proc/self/attr", "/x/../proc/self"} {
		spec := l.spec("true")
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: target, Type: "tmpfs", Source: "tmpfs"})
		if err := l.fails(spec); !errors.Is(err, fault.Invalid) {
			t.Errorf("tmpfs at %s: %v", target, err)
		}
	}
}

// R5, CVE-2025-31133: masks made of a /dev/null that is a link to something else.
func TestAttackMaskSource(t *testing.T) {
	l := newLab(t)
	canary(t)
	// Without a tmpfs at /dev the image's own devices count.
	for name, prepare := range map[string]func(){
		"link":      func() { l.must(os.Symlink(corePattern, filepath.Join(l.root, "dev/null"))) },
		"file":      func() { l.write("dev/null", "evil", 0o666) },
		"directory": func() { l.must(os.MkdirAll(filepath.Join(l.root, "dev/null"), 0o755)) },
		"device": func() {
			l.must(unix.Mknod(filepath.Join(l.root, "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.in(t)
			l.must(os.RemoveAll(filepath.Join(l.root, "dev")))
			l.must(os.Mkdir(filepath.Join(l.root, "dev"), 0o755))
			prepare()
			spec := l.spec("true")
			spec.Mounts = spec.Mounts[:1]
			l.contains("error", l.fails(spec).Error(), "make device /dev/null: file exists (the image has something else there)")
			// With one, the image's are covered, and masks come from elsewhere anyway.
			spec = l.spec("cat /proc/timer_list; echo x > /proc/timer_list; stat -c %t:%T /proc/timer_list")
			spec.Mounts[1].Options = append(spec.Mounts[1].Options, "mode=755")
			l.equal("mask", l.run(spec), "1:3")
		})
	}
}

// R6, CVE-2025-52565: links where the terminal goes.
func TestAttackConsole(t *testing.T) {
	l := newLab(t)
	canary(t)
	target := filepath.Join(l.dir, "target")
	l.must(os.WriteFile(target, []byte("canary"), 0o644))
	terminal := func() *specs.Spec {
		spec := l.spec("true")
		spec.Process.Terminal = true
		// /dev of the image instead of a tmpfs
		spec.Mounts = append(spec.Mounts[:1:1], spec.Mounts[2])
		return spec
	}
	l.must(os.Symlink(corePattern, filepath.Join(l.root, "dev/console")))
	l.contains("console", l.fails(terminal()).Error(), "attach the terminal at /dev/console: a symbolic link is in the way")
	l.must(os.Remove(filepath.Join(l.root, "dev/console")))
	// /dev/pts leads elsewhere in the image: the devpts goes there, and only there.
	l.must(os.RemoveAll(filepath.Join(l.root, "dev/pts")))
	l.must(os.Symlink("/../../tmp/elsewhere", filepath.Join(l.root, "dev/pts")))
	b, err := l.launch(terminal())
	if err == nil {
		b.Console.Close()
		b.wait()
	}
	// An image's own ptmx is the host's multiplexer.
	l.must(os.Remove(filepath.Join(l.root, "dev/pts")))
	l.must(os.Mkdir(filepath.Join(l.root, "dev/pts"), 0o755))
	_ = os.Remove(filepath.Join(l.root, "dev/ptmx"))
	l.must(unix.Mknod(filepath.Join(l.root, "dev/ptmx"), unix.S_IFCHR|0o666, int(unix.Mkdev(5, 2))))
	spec := terminal()
	spec.Process.Args[2] = "readlink /dev/ptmx; tty"
	b, err = l.launch(spec)
	l.must(err)
	defer b.Console.Close()
	l.contains("ptmx", readAll(t, b.Console), "pts/ptmx\n/dev/pts/0")
	data, err := os.ReadFile(target)
	l.must(err)
	l.equal("canary", string(data), "canary")
}

// R8, CVE-2024-45310, CVE-2019-18837: targets that lead out of the root make nothing
// on the host.
func TestAttackTargets(t *testing.T) {
	l := newLab(t)
	outside := filepath.Join(l.dir, "outside")
	l.must(os.Mkdir(outside, 0o755))
	src := l.source("src")
	up := strings.Repeat("../", 20)
	for name, link := range map[string]string{
		"absolute": outside, "relative": up + strings.TrimPrefix(outside, "/"), "short": "../outside",
		"dangling": outside + "/not/there",
	} {
		for _, file := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s file=%v", name, file), func(t *testing.T) {
				l := l.in(t)
				way := filepath.Join(l.root, "way")
				_ = os.Remove(way)
				l.must(os.Symlink(link, way))
				spec := l.spec("true")
				m := specs.Mount{Destination: "/way/a/b", Source: src, Options: []string{"bind"}}
				if file {
					m.Source = filepath.Join(src, "file")
				}
				spec.Mounts = append(spec.Mounts, m)
				if b, err := l.launch(spec); err == nil {
					b.wait()
				}
				spec.Mounts[len(spec.Mounts)-1].Destination = "/way"
				if b, err := l.launch(spec); err == nil {
					b.wait()
				}
			})
		}
	}
	dev := l.spec("true")
	l.must(os.RemoveAll(filepath.Join(l.root, "dev")))
	l.must(os.Symlink(up+strings.TrimPrefix(outside, "/"), filepath.Join(l.root, "dev")))
	if b, err := l.launch(dev); err == nil {
		b.wait()
	}
	dev.Mounts = dev.Mounts[:1]
	if b, err := l.launch(dev); err == nil {
		b.wait()
	}
	left, err := os.ReadDir(outside)
	l.must(err)
	if len(left) != 0 {
		t.Errorf("made outside of the root: %v", left)
	}
}

// What comes over the report socket of a process that a container can trace is
// foreign input: it must not make the launcher take another process for its own.
func TestForeignMessages(t *testing.T) {
	self := os.Getpid()
	for name, message := range map[string][]byte{
		"init as the final process":  record(launch.Forked, 1),
		"the launcher itself":        record(launch.Forked, uint32(self)),
		"a process that is no child": record(launch.Forked, uint32(os.Getppid())),
		"an unknown kind":            record(99, 0),
		"a wait nobody asked for":    record(launch.Waits, 0),
		"too short":                  {1, 2, 3},
		"too long":                   make([]byte, 100),
	} {
		t.Run(name, func(t *testing.T) {
			b := launch.NewBuilder()
			data := b.Data(message)
			b.Call(unix.SYS_WRITE, launch.In(launch.Report), data.Addr(), launch.Int(len(message)))
			b.Call(unix.SYS_PPOLL, launch.Int(0), launch.Int(0), launch.Int(0), launch.Int(0)) // for ever
			p, err := b.Finish()
			if err != nil {
				t.Fatal(err)
			}
			w, err := startWatch(p, launch.StartOptions{}, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.listen(); err == nil {
				t.Error("the message was accepted")
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", w.child.Pid)); err == nil {
				t.Error("the process is still there")
			}
		})
	}
}

func record(k launch.Kind, value uint32) []byte {
	out := make([]byte, launch.RecordSize)
	for i, v := range []uint32{uint32(k), value} {
		for j := range 4 {
			out[4*i+j] = byte(v >> (8 * j))
		}
	}
	return out
}

func TestSeccomp(t *testing.T) {
	l := newLab(t)
	l.must(os.Symlink("busybox", filepath.Join(l.root, "bin/grep")))
	errno := uint(unix.ENOTSUP)
	for _, nnp := range []bool{false, true} {
		for _, uid := range []uint32{0, 1000} {
			t.Run(fmt.Sprintf("no_new_privs=%v uid=%d", nnp, uid), func(t *testing.T) {
				l := l.in(t)
				spec := l.spec("mkdir /tmp/x 2>&1; grep -E 'Seccomp:|CapEff' /proc/self/status")
				spec.Process.NoNewPrivileges = nnp
				spec.Process.User.UID = uid
				spec.Linux.Seccomp = &specs.LinuxSeccomp{
					DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
					Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno, ErrnoRet: &errno}},
				}
				out := l.run(spec)
				l.contains("output", out, "mkdir: can't create directory '/tmp/x': Operation not supported", "Seccomp:\t2")
				b, err := l.launch(func() *specs.Spec { s := clone(t, spec); s.Process.Args = []string{"sleep", "100"}; return s }())
				l.must(err)
				p := shell("mkdir /tmp/x 2>&1")
				p.NoNewPrivileges, p.User.UID = nnp, uid
				out, _ = b.exec(p)
				l.contains("exec", out, "not supported")
			})
		}
	}
}

// Every launch, failed or not, gives back what it took.
func TestNothingLeaks(t *testing.T) {
	l := newLab(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		l.must(err)
		return len(entries)
	}
	good, bad, late := l.spec("true"), l.spec("true"), l.spec("true")
	bad.Process.Args = []string{"nope"}
	late.Mounts = append(late.Mounts, specs.Mount{Destination: "/etc/passwd/x", Type: "tmpfs", Source: "x"})
	user := clone(t, bad)
	user.Linux.Namespaces = append(user.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	mapIDs(user)
	round := func() {
		for i, spec := range []*specs.Spec{good, bad, late, user} {
			c, err := Launch(&LaunchSpec{ID: l.id(), Spec: spec, Bundle: l.dir})
			if (err == nil) != (i == 0) {
				t.Fatalf("launch %d: %v", i, err)
			}
			if err == nil {
				launch.Reap(c.Pid)
				l.must(c.Destroy())
			}
		}
	}
	round()
	before := count()
	for range 10 {
		round()
	}
	if after := count(); after > before {
		t.Errorf("descriptors: %d before, %d after", before, after)
	}
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil); pid > 0 {
		t.Errorf("a zombie is left: %d, %v", pid, err)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/sampan/launch-test-" + fmt.Sprint(os.Getpid()) + "-*")
	l.must(err)
	if len(groups) > 0 {
		t.Errorf("groups left: %v", groups)
	}
}
