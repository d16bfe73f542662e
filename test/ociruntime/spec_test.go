package ociruntime

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/kernel/fdpass"
)

// sleeper makes a bundle whose process waits.
func sleeper(t *testing.T, change func(*specs.Spec)) *lab {
	t.Helper()
	l := newLab(t, ours)
	s := base("exec sleep 1000")
	if change != nil {
		change(s)
	}
	l.write(s)
	return l
}

// bundle.md: the file has to be in the root of the bundle, under its name.
func TestBundle(t *testing.T) {
	l := newLab(t, ours)
	l.refused("config.json", "run", l.id())
	l.write([]byte("{"))
	l.refused("config.json", "run", l.id())
	l.write(base("true"))
	l.ok("run", l.id())
}

// runtime.md, state.
func TestState(t *testing.T) {
	l := sleeper(t, func(s *specs.Spec) { s.Annotations = map[string]string{"a": "b"} })
	id := l.id()
	l.ok("create", id)
	for _, want := range []string{"created", "running", "stopped"} {
		switch want {
		case "running":
			l.ok("start", id)
		case "stopped":
			l.ok("kill", id, "KILL")
			until(t, "the end", func() bool { return l.status(id) == "stopped" })
		}
		var s struct {
			specs.State
			Rootfs, Created string
		}
		must(t, json.Unmarshal([]byte(l.ok("state", id)), &s))
		if s.Version == "" || s.ID != id || string(s.Status) != want || s.Bundle != l.bundle || s.Annotations["a"] != "b" || (s.Pid > 0) != (want != "stopped") {
			t.Errorf("%s: %+v", want, s)
		}
	}
	l.refused("exist", "state", "nobody")
	l.refused("id", "state")
}

// runtime.md, lifecycle and operations.
func TestLifecycle(t *testing.T) {
	l := newLab(t, ours)
	s := base("echo started >/out; exec sleep 1000")
	l.write(s)
	id := l.id()
	l.ok("create", id)
	if _, err := os.Stat(l.path("out")); err == nil {
		t.Error("the program ran before start")
	}
	l.refused("exists", "create", id)
	l.write(base("echo changed >/out")) // MUST NOT affect the container
	l.ok("start", id)
	until(t, "the program", func() bool { data, _ := os.ReadFile(l.path("out")); return string(data) == "started\n" })
	l.refused("running", "start", id)
	l.refused("not stopped", "delete", id)
	if l.status(id) != "running" {
		t.Error("a refused delete had an effect")
	}
	l.ok("kill", id, "KILL")
	until(t, "the end", func() bool { return l.status(id) == "stopped" })
	l.refused("not running", "kill", id)
	l.refused("stopped", "start", id)
	l.ok("delete", id)
	l.refused("exist", "state", id)
	for _, verb := range []string{"create", "start", "kill", "delete", "state"} {
		l.refused("id", verb)
	}
	t.Run("create finds out that a program is missing, as runc's", func(t *testing.T) {
		for program, text := range map[string]string{"nope": `exec: "nope": executable file not found in $PATH`, "/nope": "no such file or directory", "/etc": "permission denied", "/etc/passwd": "permission denied"} {
			s := base("")
			s.Process.Args = []string{program}
			l.write(s)
			l.refused(text, "create", id)
		}
	})
	t.Run("a process is needed at start only", func(t *testing.T) {
		s := base("")
		s.Process = nil
		l.write(s)
		l.ok("create", id)
		l.refused("no process", "start", id)
		until(t, "the end", func() bool { return l.status(id) == "stopped" })
		l.ok("delete", id)
		l.refused("process", "run", id)
	})
	t.Run("kill sends the signal", func(t *testing.T) {
		l.write(base("trap 'echo got >/usr1' USR1; echo ready >/ready; while :; do sleep 0.05; done"))
		l.ok("run", "-d", id)
		until(t, "the trap", func() bool { _, err := os.Stat(l.path("ready")); return err == nil })
		l.ok("kill", id, "USR1")
		until(t, "the signal", func() bool { _, err := os.Stat(l.path("usr1")); return err == nil })
		l.ok("delete", "-f", id)
	})
}

// runtime.md, errors: a create that fails leaves nothing, and the id is free again.
func TestErrorsLeaveNothing(t *testing.T) {
	l := newLab(t, ours)
	id := l.id()
	s := base("true")
	s.Linux.CgroupsPath = "/" + id
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Type: "tmpfs", Source: "x", Options: []string{"beer=1"}})
	l.write(s)
	l.refused("beer", "create", id)
	if entries, _ := os.ReadDir(l.state); len(entries) > 0 {
		t.Errorf("a record is left: %v", entries)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + id); len(left) > 0 {
		t.Errorf("groups are left: %q", left)
	}
	s.Mounts = s.Mounts[:len(s.Mounts)-1]
	l.write(s)
	l.ok("run", id)
}

// runtime.md, warnings: the flow goes on, and the log file has them.
func TestWarnings(t *testing.T) {
	l := newLab(t, ours)
	s := base("echo started")
	s.Linux.MountLabel = "label"
	l.write(s)
	if out := l.ok("--log", "log", "--log-format", "json", "run", l.id()); out != "started" {
		t.Errorf("output %q", out)
	}
	data, _ := os.ReadFile(filepath.Join(l.bundle, "log"))
	if !strings.Contains(string(data), `"level":"warning"`) || !strings.Contains(string(data), "label") {
		t.Errorf("log %q", data)
	}
}

// config.md, extensibility and valid values; platform-specific configuration.
func TestExtensibility(t *testing.T) {
	l := newLab(t, ours)
	for _, tt := range []struct{ name, from, to, err string }{
		{"unknown property", `"ociVersion"`, `"unknown": {"x": [1]}, "ociVersion"`, ""},
		{"wrong type", `"hostname": "box"`, `"hostname": 5`, "not valid"},
		{"annotation that is no string", `"hostname": "box"`, `"annotations": {"x": 5}`, "not valid"},
		{"other platform", `"ociVersion"`, `"windows": {}, "ociVersion"`, "windows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := json.MarshalIndent(base("true"), "", " ")
			must(t, err)
			l.write([]byte(strings.Replace(string(data), tt.from, tt.to, 1)))
			if tt.err == "" {
				l.ok("run", l.id())
			} else {
				l.refused(tt.err, "run", l.id())
			}
		})
	}
}

// hookAt is a shell script as a hook on the host.
func hookAt(script string) specs.Hook {
	return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin", "MARK=set"}, Timeout: ptr(20)}
}

// config.md, POSIX-platform hooks: their order, namespaces, state and root directory.
func TestHooks(t *testing.T) {
	for _, userns := range []bool{false, true} {
		t.Run("user namespace "+strconv.FormatBool(userns), func(t *testing.T) { testHooks(t, userns) })
	}
}

func testHooks(t *testing.T, userns bool) {
	l := newLab(t, ours)
	must(t, os.MkdirAll(l.path("hook"), 0o777))
	must(t, os.Chmod(l.path("hook"), 0o777))
	for dir := l.bundle; dir != "/" && dir != "/tmp"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755)) // the mapped root must reach the bundle
	}
	log := l.path("hook/log")
	must(t, os.WriteFile(log, nil, 0o666))
	must(t, os.Chmod(log, 0o666))
	write := func(point, log string) string {
		return "S=$(cat); echo " + point + " $(readlink /proc/self/ns/net) $(test -e /proc/1/root/etc/os-release; test -e " + l.bundle + "/config.json && echo host) $MARK $S >>" + log
	}
	s := base("true")
	if userns {
		inUserNS(s)
	}
	s.Hooks = &specs.Hooks{
		//lint:ignore SA1019 deprecated, not removed
		Prestart:        []specs.Hook{hookAt(write("prestart", log)), hookAt("echo second >>" + log)},
		CreateRuntime:   []specs.Hook{hookAt(write("createRuntime", log))},
		CreateContainer: []specs.Hook{hookAt(write("createContainer", log))},
		StartContainer:  []specs.Hook{hookAt(write("startContainer", "/hook/log"))},
		Poststart:       []specs.Hook{hookAt(write("poststart", log)), hookAt("exit 1"), hookAt("echo still >>" + log)},
		Poststop:        []specs.Hook{hookAt(write("poststop", log)), hookAt("exit 1"), hookAt("echo still >>" + log)},
	}
	l.write(s)
	id := l.id()
	l.ok("create", id)
	data, _ := os.ReadFile(log)
	if n := strings.Count(string(data), "\n"); n != 4 {
		t.Fatalf("after create:\n%s", data)
	}
	l.ok("start", id)
	until(t, "the end", func() bool { return l.status(id) == "stopped" })
	l.ok("delete", id)
	data, err := os.ReadFile(log)
	must(t, err)
	netns, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	want := []struct {
		point, status string
		hostNS, host  bool
	}{
		{"prestart", "created", true, true}, {"second", "", true, true}, {"createRuntime", "creating", true, true}, {"createContainer", "creating", false, true},
		{"startContainer", "created", false, false}, {"poststart", "running", true, true}, {"still", "", true, true}, {"poststop", "stopped", true, true}, {"still", "", true, true},
	}
	if len(lines) != len(want) {
		t.Fatalf("hooks:\n%s", data)
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w.point) {
			t.Errorf("hook %d is %q, want %s", i, lines[i], w.point)
		}
		if w.status == "" {
			continue
		}
		if strings.Contains(lines[i], netns) != w.hostNS || strings.Contains(lines[i], " host ") != w.host || !strings.Contains(lines[i], " set {") ||
			!strings.Contains(lines[i], `"status":"`+w.status+`"`) || !strings.Contains(lines[i], `"id":"`+id+`"`) || !strings.Contains(lines[i], `"bundle":"`+l.bundle+`"`) {
			t.Errorf("%s: host's namespace %v, host's files %v, status %s wanted: %s", w.point, w.hostNS, w.host, w.status, lines[i])
		}
		if inside := w.point == "createContainer" || w.point == "startContainer"; inside != strings.Contains(lines[i], `"pid":1,`) {
			t.Errorf("%s: the pid is not as seen where the hook runs: %s", w.point, lines[i])
		}
	}
}

// Hooks before the start that fail, or take too long, end the container; then poststop
// runs and nothing is left.
func TestHooksFail(t *testing.T) {
	for point, set := range map[string]func(*specs.Hooks, specs.Hook){
		//lint:ignore SA1019 deprecated, not removed
		"prestart":        func(h *specs.Hooks, k specs.Hook) { h.Prestart = []specs.Hook{k} },
		"createRuntime":   func(h *specs.Hooks, k specs.Hook) { h.CreateRuntime = []specs.Hook{k} },
		"createContainer": func(h *specs.Hooks, k specs.Hook) { h.CreateContainer = []specs.Hook{k} },
		"startContainer":  func(h *specs.Hooks, k specs.Hook) { h.StartContainer = []specs.Hook{k} },
	} {
		for name, script := range map[string]string{"failure": "exit 3", "timeout": "sleep 100"} {
			t.Run(point+"/"+name, func(t *testing.T) {
				l := newLab(t, ours)
				k := hookAt(script)
				if name == "timeout" {
					k.Timeout = ptr(1)
				}
				stopped := filepath.Join(l.bundle, "stopped")
				s := base("echo never >/never")
				s.Hooks = &specs.Hooks{Poststop: []specs.Hook{hookAt("touch " + stopped)}}
				set(s.Hooks, k)
				l.write(s)
				id := l.id()
				r := l.call("create", id)
				if point == "startContainer" {
					if r.code != 0 {
						t.Fatal(r.err)
					}
					r = l.call("start", id)
				}
				if r.code != 1 || !strings.Contains(r.err, "hook") || name == "timeout" && !strings.Contains(r.err, "time") {
					t.Errorf("exit code %d: %s", r.code, r.err)
				}
				if point == "startContainer" {
					until(t, "the end", func() bool { return l.status(id) == "stopped" })
					l.ok("delete", id)
				}
				if _, err := os.Stat(l.path("never")); err == nil {
					t.Error("the program ran")
				}
				if _, err := os.Stat(stopped); err != nil {
					t.Error("poststop did not run")
				}
				if entries, _ := os.ReadDir(l.state); len(entries) > 0 {
					t.Errorf("left: %v", entries)
				}
			})
		}
	}
}

// config-linux.md, network devices, in a network namespace of the test's own.
func TestNetDevices(t *testing.T) {
	l := newLab(t, ours)
	in := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ip", append([]string{"-n", "oci-net"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %q: %s", args, out)
		}
		return string(out)
	}
	if out, err := exec.Command("ip", "netns", "add", "oci-net").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces: %s", out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", "oci-net").Run() })
	in("link", "add", "v0", "mtu", "1400", "type", "veth", "peer", "name", "v1")
	in("addr", "add", "10.9.0.1/24", "dev", "v0")
	in("addr", "add", "fd00::9/64", "dev", "v0", "nodad")
	s := base("ip addr; ip link")
	s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"v0": {Name: "inner"}, "v1": {Name: "num%d"}}
	l.write(s)
	r := l.callWith(func(c *exec.Cmd) {
		c.Args = append([]string{"nsenter", "--net=/run/netns/oci-net", c.Path}, c.Args[1:]...)
		c.Path, _ = exec.LookPath("nsenter")
	}, "", "run", l.id())
	for _, want := range []string{"inner@", "num0@", "mtu 1400", "10.9.0.1/24", "fd00::9/64", "UP"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%s is missing: exit code %d, %s\n%s", want, r.code, r.err, r.out)
		}
	}
	s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nothere": {}}
	l.write(s)
	l.refused("no device of that name", "run", l.id())
	in("link", "add", "v2", "type", "veth", "peer", "name", "v3")
	s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"v2": {Name: "lo"}}
	l.write(s)
	r = l.callWith(func(c *exec.Cmd) {
		c.Args = append([]string{"nsenter", "--net=/run/netns/oci-net", c.Path}, c.Args[1:]...)
		c.Path, _ = exec.LookPath("nsenter")
	}, "", "run", l.id())
	if r.code != 1 || !strings.Contains(r.err, "lo already") {
		t.Errorf("a name that is taken: exit code %d, %s", r.code, r.err)
	}
	in("link", "show", "v2") // still there
}

// config-linux.md, seccomp: the container process state at the listener, and an answer.
func TestSeccompNotify(t *testing.T) {
	for _, how := range []string{"run", "create and start", "exec", "without no_new_privs"} {
		t.Run(how, func(t *testing.T) { testNotify(t, how) })
	}
}

func testNotify(t *testing.T, how string) {
	l := newLab(t, ours)
	socket := filepath.Join(l.bundle, "listener")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	must(t, unix.Listen(fd, 4))
	script := "mkdir /tmp/asked; echo answer $?"
	s := base(script)
	if how == "exec" {
		s = base("exec sleep 1000")
	}
	s.Process.NoNewPrivileges = how != "without no_new_privs"
	s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: socket, ListenerMetadata: "meta", Architectures: []specs.Arch{specs.ArchX86_64},
		Flags:    []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify}}}
	l.write(s)
	id := l.id()
	states := make(chan specs.ContainerProcessState, 4)
	go answer(t, fd, states)
	var r result
	switch how {
	case "create and start":
		l.ok("create", id)
		l.ok("start", id)
		until(t, "the end", func() bool { return l.status(id) == "stopped" })
	case "exec":
		l.ok("run", "-d", id)
		<-states
		r = l.call("exec", id, "sh", "-c", script)
	default:
		r = l.call("run", id)
	}
	state := <-states
	if state.Version != specs.Version || !slices.Equal(state.Fds, []string{"seccompFd"}) || state.Pid == 0 || state.Metadata != "meta" || state.State.ID != id || state.State.Bundle != l.bundle {
		t.Errorf("state %+v", state)
	}
	if how != "create and start" && r.out != "answer 1" {
		t.Errorf("exit code %d, %q, %q", r.code, r.out, r.err)
	}
}

// answer takes listeners and lets every call fail with ENOMEDIUM.
func answer(t *testing.T, socket int, states chan<- specs.ContainerProcessState) {
	for {
		conn, _, err := unix.Accept(socket)
		if err != nil {
			return
		}
		buf := make([]byte, 64<<10)
		n, files, err := fdpass.Recv(conn, buf, 4)
		unix.Close(conn)
		if err != nil || len(files) != 1 {
			t.Errorf("the listener got %d descriptors: %v", len(files), err)
			return
		}
		var state specs.ContainerProcessState
		if err := json.Unmarshal(buf[:n], &state); err != nil {
			t.Errorf("the state %q: %v", buf[:n], err)
		}
		states <- state
		go reply(files[0])
	}
}

func reply(listener *os.File) {
	defer listener.Close()
	const noMedium = 123
	for {
		// struct seccomp_notif is 80 bytes, of seccomp_notif_resp 24; the first 8 are the id.
		notif, resp := make([]byte, 80), make([]byte, 24)
		if ioctl(listener, 0xc0502100, notif) != 0 { // SECCOMP_IOCTL_NOTIF_RECV
			return
		}
		copy(resp, notif[:8])
		errno := int32(-noMedium)
		for i := range 4 {
			resp[16+i] = byte(uint32(errno) >> (8 * i))
		}
		if ioctl(listener, 0xc0182101, resp) != 0 { // SECCOMP_IOCTL_NOTIF_SEND
			return
		}
	}
}

// config.md, execCPUAffinity: for processes of exec.
func TestExecAffinity(t *testing.T) {
	l := sleeper(t, nil)
	id := l.id()
	l.ok("run", "-d", id)
	write := func(a *specs.CPUAffinity) {
		data, err := json.Marshal(&specs.Process{Args: []string{"grep", "Cpus_allowed_list", "/proc/self/status"}, Cwd: "/", Env: []string{"PATH=/bin"}, ExecCPUAffinity: a})
		must(t, err)
		must(t, os.WriteFile(filepath.Join(l.bundle, "process.json"), data, 0o644))
	}
	write(&specs.CPUAffinity{Initial: "0", Final: "0"})
	if out := l.ok("exec", "-p", "process.json", id); !strings.HasSuffix(out, "\t0") {
		t.Errorf("with final 0: %q", out)
	}
	write(&specs.CPUAffinity{Final: "none"})
	l.refused("execCPUAffinity.final", "exec", "-p", "process.json", id)
}

// What somebody gave the engine (taskset, CPUAffinity= of systemd) is not the container's.
func TestProcessorsOfTheEngine(t *testing.T) {
	l := newLab(t, ours)
	var all unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	if all.Count() < 2 {
		t.Skip("this machine has one processor")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() { must(t, unix.SchedSetaffinity(0, &all)) }()
	l.write(base("grep Cpus_allowed_list /proc/self/status"))
	wide := l.ok("run", l.id())
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			var one unix.CPUSet
			one.Set(cpu)
			must(t, unix.SchedSetaffinity(0, &one)) // of this thread, and so of what it starts
			break
		}
	}
	if got := l.ok("run", l.id()); got != wide {
		t.Errorf("the container runs on %q, without a mask on %q", got, wide)
	}
}

// features.md: the structure, and that what it names is taken.
func TestFeatures(t *testing.T) {
	l := newLab(t, ours)
	var f features.Features
	dec := json.NewDecoder(strings.NewReader(l.ok("features")))
	dec.DisallowUnknownFields()
	must(t, dec.Decode(&f))
	for _, v := range []string{f.OCIVersionMin, f.OCIVersionMax} {
		s := base("true")
		s.Version = v
		l.write(s)
		l.ok("run", l.id())
	}
	if len(f.Hooks) != 6 || len(f.Linux.Namespaces) != 8 || len(f.MountOptions) < 50 {
		t.Errorf("hooks %q, namespaces %q, %d mount options", f.Hooks, f.Linux.Namespaces, len(f.MountOptions))
	}
	for _, o := range f.MountOptions {
		if o == "idmap" || o == "ridmap" || o == "tmpcopyup" || o == "remount" {
			continue // they need something beside them: TestFields
		}
		s := base("true")
		bound(o)(l, s)
		l.write(s)
		if r := l.call("run", l.id()); r.code != 0 {
			t.Errorf("mount option %s: %s", o, r.err)
		}
	}
	s := base("true")
	s.Process.Capabilities.Bounding = f.Linux.Capabilities
	l.write(s)
	l.ok("run", l.id())
	for _, flag := range f.Linux.Seccomp.SupportedFlags {
		if flag == string(specs.LinuxSeccompFlagWaitKillableRecv) {
			continue // with a listener: TestSeccompNotify
		}
		s := base("true")
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlag(flag)}}
		for _, arch := range f.Linux.Seccomp.Archs {
			s.Linux.Seccomp.Architectures = append(s.Linux.Seccomp.Architectures, specs.Arch(arch))
		}
		l.write(s)
		if r := l.call("run", l.id()); r.code != 0 && !strings.Contains(r.err, "SCMP_ARCH") {
			t.Errorf("seccomp flag %s: %s", flag, r.err)
		}
	}
}

// config.md, process.terminal and consoleSize, by the console socket of runc's callers.
func TestTerminal(t *testing.T) {
	l := newLab(t, ours)
	socket := filepath.Join(l.bundle, "console")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socket}))
	must(t, unix.Listen(fd, 4))
	s := base("stty size; tty; exec sleep 1000")
	s.Process.Terminal = true
	s.Process.ConsoleSize = &specs.Box{Height: 33, Width: 77}
	l.write(s)
	id := l.id()
	l.refused("console-socket", "create", id)
	l.ok("create", "--console-socket", socket, id)
	conn, _, err := unix.Accept(fd)
	must(t, err)
	defer unix.Close(conn)
	_, files, err := fdpass.Recv(conn, make([]byte, 4096), 1)
	must(t, err)
	master := files[0]
	defer master.Close()
	l.ok("start", id)
	got := ""
	buf := make([]byte, 4096)
	for !strings.Contains(got, "/dev/") {
		n, err := master.Read(buf)
		must(t, err)
		got += string(buf[:n])
	}
	if !strings.Contains(got, "33 77") || !strings.Contains(got, "/dev/console") && !strings.Contains(got, "/dev/pts/0") {
		t.Errorf("the terminal says %q", got)
	}
}

// A container without a mount namespace of its own, or in one that is joined, has its
// mounts nevertheless; they go with it (config-linux.md, namespaces).
func TestMountNamespaceOfOthers(t *testing.T) {
	before := mountTable(t)
	l := newLab(t, ours)
	s := base("cat /mnt/b/file; echo >/x; exec sleep 1000")
	without(s, specs.MountNamespace)
	bound("ro")(l, s)
	s.Root.Readonly = true
	l.write(s)
	id := l.id()
	l.ok("run", "-d", id)
	var st specs.State
	must(t, json.Unmarshal([]byte(l.ok("state", id)), &st))
	ns, err := os.Readlink("/proc/" + strconv.Itoa(st.Pid) + "/ns/mnt")
	must(t, err)
	if own, _ := os.Readlink("/proc/self/ns/mnt"); ns != own {
		t.Errorf("the container is in %s, not in %s", ns, own)
	}
	if out := l.ok("exec", id, "cat", "/mnt/b/file"); out != "content" {
		t.Errorf("exec: %q", out)
	}
	l.ok("delete", "--force", id)
	if after := mountTable(t); after != before {
		t.Errorf("the host's mount table was\n%s\nand is\n%s", before, after)
	}
	if _, err := os.Stat(l.path("x")); err == nil {
		t.Error("the read-only root was written to")
	}
}

func mountTable(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	return string(data)
}
