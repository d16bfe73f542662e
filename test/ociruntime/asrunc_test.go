package ociruntime

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// notCompared are the fields of the schema for which there is no comparison with runc,
// and why.
var notCompared = map[string]string{
	"process.commandLine":   "another platform",
	"process.user.username": "another platform",
	"linux.netDevices":      newerThanRunc + "; TestNetDevices",
	"linux.netDevices.*.name": newerThanRunc +
		"; TestNetDevices",
}

// flagsElsewhere are options that no line of commandLines has, with what tests them.
var flagsElsewhere = map[string]string{
	" root":               "every call of this package has it",
	" systemd-cgroup":     "needs systemd: test/vm",
	"create pidfd-socket": "runc 1.1.5 has it not: TestPidfdSocket",
	"exec pidfd-socket":   "runc 1.1.5 has it not: TestPidfdSocket",
	"run pidfd-socket":    "runc 1.1.5 has it not: TestPidfdSocket",
	"spec explain":        "runc has it not: TestExplain of runtime/cli",
	"spec rootless":       "TestRootlessSpec",
	"update cpu-burst":    "runc 1.1.5 has it not: TestUpdateNewer",
	"update cpu-idle":     "runc 1.1.5 has it not: TestUpdateNewer",
}

// TestZComparisonIsWhole: each field and each option that can be given is in a case that
// runs with both runtimes, or stands above with its reason.
func TestZComparisonIsWhole(t *testing.T) {
	l := newLab(t, ours)
	got := map[string]bool{}
	for _, s := range append(hookSpecs(l), terminalSpec()) {
		noteSpec(t, s, got)
	}
	for _, f := range fields() {
		s := base(f.script)
		if f.change != nil {
			f.change(l, s)
		}
		noteSpec(t, s, got)
	}
	for _, field := range schemaFields(t) {
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(field), `\*`, `[^.]+`) + "$")
		found := false
		for f := range got {
			found = found || pattern.MatchString(f)
		}
		if !found && notCompared[field] == "" {
			t.Errorf("no comparison with runc has the field %s", field)
		}
	}
	option := regexp.MustCompile(`(?m)^ +--([a-z0-9-]+)`)
	// checkpoint and restore have tests of their own, in the test machine.
	for _, verb := range []string{"", "create", "delete", "events", "exec", "kill", "list", "pause", "ps", "resume", "run", "spec", "start", "state", "update"} {
		for _, m := range option.FindAllStringSubmatch(l.ok(strings.Fields(verb+" --help")...), -1) {
			if !usesFlag(verb, m[1]) && flagsElsewhere[verb+" "+m[1]] == "" {
				t.Errorf("no command line has the option --%s of %q", m[1], verb)
			}
		}
	}
}

func noteSpec(t *testing.T, s *specs.Spec, into map[string]bool) {
	t.Helper()
	data, err := json.Marshal(s)
	must(t, err)
	var tree any
	must(t, json.Unmarshal(data, &tree))
	note("", tree, into)
}

func usesFlag(verb, flag string) bool {
	for _, steps := range commandLines() {
		for _, st := range steps {
			if verb != "" && !slices.Contains(st.args, verb) {
				continue
			}
			for _, a := range st.args {
				if name, _, _ := strings.Cut(a, "="); name == "--"+flag {
					return true
				}
			}
		}
	}
	return false
}

// hookPoints sets the hooks of one point.
var hookPoints = map[string]func(*specs.Hooks, specs.Hook){
	//lint:ignore SA1019 prestart is deprecated, not removed
	"prestart":        func(h *specs.Hooks, k specs.Hook) { h.Prestart = append(h.Prestart, k) },
	"createRuntime":   func(h *specs.Hooks, k specs.Hook) { h.CreateRuntime = append(h.CreateRuntime, k) },
	"createContainer": func(h *specs.Hooks, k specs.Hook) { h.CreateContainer = append(h.CreateContainer, k) },
	"startContainer":  func(h *specs.Hooks, k specs.Hook) { h.StartContainer = append(h.StartContainer, k) },
	"poststart":       func(h *specs.Hooks, k specs.Hook) { h.Poststart = append(h.Poststart, k) },
	"poststop":        func(h *specs.Hooks, k specs.Hook) { h.Poststop = append(h.Poststop, k) },
}

// hookSpecs are containers with a hook at each point, which writes down what it got and
// where it is.
func hookSpecs(l *lab) (list []*specs.Spec) {
	for point, set := range hookPoints {
		s := base("cat /hook 2>/dev/null; echo program")
		s.Annotations = map[string]string{"note": point}
		out := l.path("hook")
		if point == "startContainer" {
			out = "/hook"
		}
		script := `{ cat | sed 's/"pid":[0-9]*/PID/; s/"id":"[^"]*"/ID/; s/"bundle":"[^"]*"/BUNDLE/'; echo; echo "$0 $* $A"; hostname; test -e ` + l.bundle + ` && echo "sees the bundle"; test -d /proc/1/fd && echo proc; } >` + out
		s.Hooks = &specs.Hooks{}
		set(s.Hooks, specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script, "name", "a b"}, Env: []string{"A=value", "PATH=/usr/bin:/bin"}, Timeout: ptr(30)})
		list = append(list, s)
	}
	return list
}

// TestHooksAsRunc: each hook gets the same state, arguments and environment, in the same
// namespaces, from both runtimes.
func TestHooksAsRunc(t *testing.T) {
	theirs := newLab(t, runc(t))
	mine := newLab(t, ours)
	run := func(l *lab, s *specs.Spec) (string, result) {
		os.Remove(l.path("hook"))
		r := l.run(s)
		data, _ := os.ReadFile(l.path("hook"))
		return string(data), r
	}
	a, b := hookSpecs(mine), hookSpecs(theirs)
	byPoint := func(list []*specs.Spec) {
		slices.SortFunc(list, func(x, y *specs.Spec) int { return strings.Compare(x.Annotations["note"], y.Annotations["note"]) })
	}
	byPoint(a)
	byPoint(b)
	version, status := regexp.MustCompile(`"ociVersion":"[^"]*"`), regexp.MustCompile(`"status":"[^"]*"`)
	for i := range a {
		t.Run(a[i].Annotations["note"], func(t *testing.T) {
			got, r := run(mine, a[i])
			want, r2 := run(theirs, b[i])
			clean := func(s string, l *lab) string {
				s = strings.ReplaceAll(version.ReplaceAllString(s, "VERSION"), l.bundle, "BUNDLE")
				if point := a[i].Annotations["note"]; point == "prestart" || point == "poststart" {
					// runc says creating and created, the specification created (runtime.md,
					// lifecycle) and running, since the program is.
					s = status.ReplaceAllString(s, "STATUS")
				}
				return keysInOrder(s)
			}
			if clean(got, mine) != clean(want, theirs) || got == "" {
				t.Errorf("ours:\n%s\nrunc:\n%s", clean(got, mine), clean(want, theirs))
			}
			if r.code != r2.code || !strings.HasSuffix(r.out, "program") || !strings.HasSuffix(r2.out, "program") {
				t.Errorf("ours: exit code %d, %q, %q; runc: %d, %q, %q", r.code, r.out, r.err, r2.code, r2.out, r2.err)
			}
		})
	}
}

// keysInOrder sorts the members of the state, whose order nothing promises.
func keysInOrder(s string) string {
	state, rest, _ := strings.Cut(s, "\n")
	parts := strings.Split(strings.Trim(state, "{}"), ",")
	slices.Sort(parts)
	return strings.Join(parts, ",") + "\n" + rest
}

// TestHookTimeoutsAsRunc: a hook that takes too long ends both containers alike.
func TestHookTimeoutsAsRunc(t *testing.T) {
	mine, theirs := newLab(t, ours), newLab(t, runc(t))
	for point, set := range hookPoints {
		t.Run(point, func(t *testing.T) {
			if point == "poststart" {
				t.Skip("not compared: a failing poststart hook only warns; runc ends the container")
			}
			if point == "poststop" {
				t.Skip("not compared: it comes after the end")
			}
			s := base("echo program")
			s.Hooks = &specs.Hooks{}
			set(s.Hooks, specs.Hook{Path: "/bin/sleep", Args: []string{"sleep", "20"}, Env: []string{"PATH=/bin"}, Timeout: ptr(1)})
			a, b := mine.run(s), theirs.run(s)
			if a.code != b.code || a.code == 0 || a.out != b.out {
				t.Errorf("ours: exit code %d, %q, %q; runc: %d, %q, %q", a.code, a.out, a.err, b.code, b.out, b.err)
			}
		})
	}
}

func terminalSpec() *specs.Spec {
	s := base("tty; stty size; test -c /dev/console && echo console; stat -c %t:%T /dev/pts/0; id -u; ls -ln /proc/self/fd/0 | awk '{print $1}'")
	s.Process.Terminal = true
	s.Process.ConsoleSize = &specs.Box{Height: 33, Width: 77}
	return s
}

// TestTerminalAsRunc: a terminal that goes by --console-socket.
func TestTerminalAsRunc(t *testing.T) {
	run := func(bin string) string {
		l := newLab(t, bin)
		l.write(terminalSpec())
		socket := filepath.Join(l.bundle, "console")
		get := received(t, socket)
		id := l.id()
		l.ok("run", "--detach", "--console-socket", socket, id)
		master := get()
		defer master.Close()
		out, _ := io.ReadAll(master) // ends with EIO when the program ends
		l.call("delete", "--force", id)
		return string(out)
	}
	mine, theirs := run(ours), run(runc(t))
	if mine != theirs || !strings.Contains(mine, "33 77") {
		t.Errorf("ours: %q\nrunc: %q", mine, theirs)
	}
}

// TestUpdateNewer: options of update that runc got after 1.1.5, tried where the kernel has
// the files.
func TestUpdateNewer(t *testing.T) {
	l := sleeper(t, nil)
	id := l.id()
	l.ok("run", "--detach", id)
	for _, c := range []struct{ file, option, value string }{
		{"cpu.rt_runtime_us", "--cpu-rt-runtime", "1000"}, // in the root of the hierarchy runc is refused it
		{"cpu.cfs_burst_us", "--cpu-burst", "1000"}, {"cpu.idle", "--cpu-idle", "1"},
	} {
		t.Run(c.option, func(t *testing.T) {
			path := "/sys/fs/cgroup/cpu/sampan-" + id + "/" + c.file
			if _, err := os.Stat(path); err != nil {
				t.Skipf("this kernel has no %s on cgroup v1", c.file)
			}
			if c.option == "--cpu-burst" {
				l.ok("update", "--cpu-quota", "50000", "--cpu-period", "100000", id)
			}
			l.ok("update", c.option, c.value, id)
			if got := strings.TrimSpace(string(read(t, path))); got != c.value {
				t.Errorf("%s is %s", c.file, got)
			}
			l.refused("number", "update", c.option, "much", id)
		})
	}
}

// TestPreserveAsRunc: descriptors and the keyring that run hands on.
func TestPreserveAsRunc(t *testing.T) {
	for name, args := range map[string][]string{"--preserve-fds 1": {"--preserve-fds", "1"}, "none": nil, "--no-pivot": {"--no-pivot", "--no-new-keyring", "--bundle", "."}} {
		t.Run(name, func(t *testing.T) {
			run := func(bin string) result {
				l := newLab(t, bin)
				l.write(base("ls /proc/self/fd | wc -l; cat <&3 2>/dev/null; true"))
				f, err := os.CreateTemp("", "ociruntime-fd")
				must(t, err)
				defer f.Close()
				defer os.Remove(f.Name())
				_, err = f.WriteString("handed on")
				must(t, err)
				_, err = f.Seek(0, io.SeekStart)
				must(t, err)
				return l.callWith(func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{f} }, "", slices.Concat([]string{"run"}, args, []string{l.id()})...)
			}
			mine, theirs := run(ours), run(runc(t))
			if mine.code != theirs.code || mine.out != theirs.out {
				t.Errorf("ours: %d, %q, %q; runc: %d, %q, %q", mine.code, mine.out, mine.err, theirs.code, theirs.out, theirs.err)
			}
		})
	}
}
