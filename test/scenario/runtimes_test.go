package scenario

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/test/lab"
)

// hideUnified takes the unified hierarchy out of sight: crun refuses to work beside it.
// The tests have a mount namespace of their own.
func hideUnified(t *testing.T) {
	const dir = "/sys/fs/cgroup/unified"
	if unix.Unmount(dir, unix.MNT_DETACH) != nil {
		return // not a hybrid machine
	}
	t.Cleanup(func() {
		if err := unix.Mount("cgroup2", dir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			t.Error(err)
		}
	})
}

// A container of another runtime behaves as one of our own, whoever asks.
func TestRuntimes(t *testing.T) {
	hideUnified(t)
	config := filepath.Join(t.TempDir(), "daemon.json")
	flags := []string{"--config-file", config}
	others := `{"runtimes":{`
	names := []string{"sampan"}
	for _, name := range []string{"runc", "crun"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not on this machine: left out", name)
			continue
		}
		if len(names) > 1 {
			others += ","
		}
		others += `"` + name + `":{"path":"` + path + `","runtimeArgs":[]}`
		names = append(names, name)
	}
	if err := os.WriteFile(config, []byte(others+"}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := start(t, flags...)
	for _, runtime := range names {
		for _, c := range clients(d) {
			t.Run(runtime+"/"+c.name, func(t *testing.T) { liveByRuntime(t, c, runtime) })
		}
	}
	if r := d.Sampan("run", "--rm", "--runtime", "nope", busybox, "true"); r.Code != 125 || !strings.Contains(r.Err, "unknown or invalid runtime name: nope") {
		t.Errorf("an unknown runtime: exit %d, %q", r.Code, r.Err)
	}
	if info := d.Sampan("info", "-f", "{{range $n, $r := .Runtimes}}{{$n}} {{end}}").Must(t); !strings.Contains(info, "sampan") || !strings.Contains(info, names[len(names)-1]) {
		t.Errorf("info lists the runtimes %q", info)
	}
}

func liveByRuntime(t *testing.T, c client, runtime string) {
	exits := []struct {
		command []string
		code    int
		err     string
	}{
		{[]string{"sh", "-c", "exit 7"}, 7, ""},
		{[]string{"nosuch"}, 127, "executable file not found in $PATH"},
		{[]string{"/etc/noexec"}, 126, "permission denied"},
	}
	for _, tc := range exits {
		if r := c.do(append([]string{"run", "--rm", "--runtime", runtime, busybox}, tc.command...)...); r.Code != tc.code || !strings.Contains(r.Err, tc.err) {
			t.Errorf("%q: exit %d, %q; want %d, %q", tc.command, r.Code, r.Err, tc.code, tc.err)
		}
	}
	c.do("run", "-d", "--name", "rt", "--runtime", runtime, "-m", "64m", "--hostname", "inside", "-v", "data:/data", busybox,
		"sh", "-c", `trap "exit 3" TERM; echo ready; while :; do sleep 0.02; done`).Must(t)
	defer c.do("volume", "rm", "data")
	defer c.do("rm", "-f", "rt")
	for _, tc := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"inspect", "-f", "{{.HostConfig.Runtime}} {{.State.Status}}", "rt"}, runtime + " running", 0},
		{[]string{"exec", "rt", "hostname"}, "inside", 0},
		{[]string{"exec", "-u", "app", "-e", "A=b", "-w", "/tmp", "rt", "sh", "-c", `id -u; echo $A; pwd`}, "1000\nb\n/tmp", 0},
		{[]string{"exec", "rt", "sh", "-c", "exit 5"}, "", 5},
		{[]string{"exec", "rt", "nosuch"}, "", 127},
		{[]string{"exec", "rt", "sh", "-c", "echo x > /data/f; cat /data/f"}, "x", 0},
		{[]string{"pause", "rt"}, "rt", 0},
		{[]string{"ps", "--filter", "status=paused", "--format", "{{.Names}}"}, "rt", 0},
		{[]string{"unpause", "rt"}, "rt", 0},
		{[]string{"update", "-m", "128m", "--memory-swap", "256m", "rt"}, "rt", 0},
		{[]string{"cp", "/etc/hostname", "rt:/tmp/h"}, "", 0},
		{[]string{"exec", "rt", "sh", "-c", "test -s /tmp/h && echo copied"}, "copied", 0},
	} {
		r := c.do(tc.args...)
		if got := strings.TrimSuffix(r.Out, "\n"); r.Code != tc.code || tc.want != "" && got != tc.want {
			t.Errorf("%q: exit %d, %q, %q; want %d, %q", tc.args, r.Code, got, r.Err, tc.code, tc.want)
		}
	}
	limit := c.do("exec", "rt", "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max").Must(t)
	if limit != "134217728" {
		t.Errorf("limit after update: %q", limit)
	}
	if out := c.do("top", "rt").Must(t); !strings.Contains(out, "sleep") {
		t.Errorf("top: %q", out)
	}
	c.do("stop", "rt").Must(t)
	if out := c.do("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "rt").Must(t); out != "exited 3" {
		t.Errorf("after stop: %q", out)
	}
	c.do("start", "rt").Must(t)
	c.do("kill", "rt").Must(t)
	if out := c.do("wait", "rt").Must(t); out != "137" {
		t.Errorf("after kill: %q", out)
	}
	if out := c.do("logs", "rt").Must(t); out != "ready\nready" {
		t.Errorf("logs: %q", out)
	}
}

// A terminal comes through another runtime, too.
func TestRuntimeTerminal(t *testing.T) {
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("runc is not on this machine")
	}
	start(t)
	term := lab.OpenTerminal(t, lab.Bin(t, "sampan"), "run", "--rm", "-it", "--runtime", "runc", busybox, "sh")
	term.Resize(33, 99)
	term.Type("tty; stty size\n")
	term.Expect("/dev/pts/0")
	term.Expect("33 99")
	term.Type("exit 4\n")
	if code := term.Wait(); code != 4 {
		t.Errorf("exit %d", code)
	}
}

// The daemon may die: the shim keeps a container of another runtime as its own, and
// one whose shim dies is cleaned up.
func TestRuntimeOutlivesTheDaemon(t *testing.T) {
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("runc is not on this machine")
	}
	d := start(t)
	d.Sampan("run", "-d", "--name", "rt", "--runtime", "runc", busybox, "sleep", "1000").Must(t)
	d.Kill()
	d.Restart()
	d.Sampan("exec", "rt", "true").Must(t)
	shim := d.ShimOf("rt")
	if err := unix.Kill(shim, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if out := d.Sampan("wait", "rt").Must(t); out != "137" {
		t.Errorf("exit code after the death of the shim: %s", out)
	}
	d.Sampan("start", "rt").Must(t)
	d.Sampan("exec", "rt", "true").Must(t)
}

// --init needs no program of the host.
func TestInit(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			for _, tc := range []struct {
				name string
				args []string
				code int
				out  string
			}{
				{"the command is not the first process", []string{busybox, "sh", "-c", "cat /proc/1/comm; test $$ -ne 1 && echo $(cat /proc/1/cmdline | tr '\\0' ' ')"}, 0,
					`docker-init` + "\n" + `/sbin/docker-init -- sh -c cat /proc/1/comm; test $$ -ne 1 && echo $(cat /proc/1/cmdline | tr '\0' ' ')` + "\n"},
				{"exit code", []string{busybox, "sh", "-c", "exit 7"}, 7, ""},
				{"death by signal", []string{busybox, "sh", "-c", "kill -9 $$"}, 137, ""},
				{"missing command", []string{busybox, "nosuch"}, 127, ""},
				{"user", []string{"-u", "app", busybox, "id", "-u"}, 0, "1000\n"},
				{"entrypoint by path", []string{"--entrypoint", "/bin/echo", busybox, "x"}, 0, "x\n"},
				{"zombies are reaped", []string{busybox, "sh", "-c", "(sleep 0.02 & ) ; sleep 0.2; ps | grep -c '\\[sleep\\]'"}, 1, "0\n"},
				{"user namespace", []string{"--userns", "remap", busybox, "id", "-u"}, 0, "0\n"},
			} {
				if c.name == "docker" && tc.name == "user namespace" {
					continue // its own flag check knows no remap
				}
				r := c.do(append([]string{"run", "--rm", "--init"}, tc.args...)...)
				if r.Code != tc.code || r.Out != tc.out {
					t.Errorf("%s: exit %d, %q, %q", tc.name, r.Code, r.Out, r.Err)
				}
			}
			c.do("run", "-d", "--init", "--name", "in", busybox, "sh", "-c", `trap "exit 4" TERM; echo ready; while :; do sleep 0.02; done`).Must(t)
			defer c.do("rm", "-f", "in")
			lab.Eventually(t, 10*time.Second, "the command is ready", func() bool { return c.do("logs", "in").Out == "ready\n" })
			c.do("stop", "in").Must(t)
			if out := c.do("inspect", "-f", "{{.State.ExitCode}} {{.HostConfig.Init}}", "in").Must(t); out != "4 true" {
				t.Errorf("after stop: %s", out)
			}
		})
	}
	term := lab.OpenTerminal(t, lab.Bin(t, "sampan"), "run", "--rm", "-it", "--init", busybox, "sh")
	term.Expect("/ # ")
	term.Type("echo g$((1))o; cat\n")
	term.Expect("g1o")
	term.Type("\x03")
	term.Expect("^C")
	term.Expect("/ # ") // what is typed before is thrown away with the line
	term.Type("echo int$?\n")
	term.Expect("int130")
	term.Type("exit 6\n")
	if code := term.Wait(); code != 6 {
		t.Errorf("exit %d at a terminal", code)
	}
}
