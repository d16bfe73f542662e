package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// A paused container stands still and says so; what ends it wakes it first.
func TestPause(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			state := func() string {
				return c.do("inspect", "-f", "{{.State.Status}} {{.State.Paused}} {{.State.Running}}", "pp").Must(t)
			}
			c.do("run", "-d", "--name", "pp", busybox, "sh", "-c", `trap "exit 3" TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done`).Must(t)
			defer c.do("rm", "-f", "pp")
			if out := c.do("pause", "pp").Must(t); out != "pp" {
				t.Errorf("pause prints %q", out)
			}
			if out := state(); out != "paused true true" {
				t.Errorf("state %q", out)
			}
			if out := c.do("ps", "--filter", "status=paused", "--format", "{{.Names}} {{.Status}}").Must(t); !strings.HasPrefix(out, "pp Up ") || !strings.HasSuffix(out, "(Paused)") {
				t.Errorf("ps %q", out)
			}
			before := c.do("logs", "--tail", "1", "pp").Must(t)
			time.Sleep(100 * time.Millisecond)
			if after := c.do("logs", "--tail", "1", "pp").Must(t); after != before {
				t.Errorf("a paused container went on from %s to %s", before, after)
			}
			for _, tc := range []struct {
				args []string
				want string
			}{
				{[]string{"pause", "pp"}, "is already paused"},
				{[]string{"exec", "pp", "true"}, "is paused, unpause the container before exec"},
				{[]string{"start", "pp"}, "cannot start a paused container, try unpause instead"},
				{[]string{"rm", "pp"}, "container is paused and must be unpaused first"},
				{[]string{"attach", "pp"}, "annot attach to a paused container, unpause it first"},
			} {
				if r := c.do(tc.args...); r.Code == 0 || !strings.Contains(r.Err, tc.want) {
					t.Errorf("%q: exit %d, %q; want %q", tc.args, r.Code, r.Err, tc.want)
				}
			}
			c.do("unpause", "pp").Must(t)
			if out := state(); out != "running false true" {
				t.Errorf("state %q", out)
			}
			if r := c.do("unpause", "pp"); r.Code == 0 || !strings.Contains(r.Err, "is not paused") {
				t.Errorf("second unpause: %d %q", r.Code, r.Err)
			}
			c.do("pause", "pp").Must(t)
			began := time.Now()
			c.do("stop", "pp").Must(t)
			if out := c.do("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "pp").Must(t); out != "exited 3" || time.Since(began) > 8*time.Second {
				t.Errorf("after stop of a paused container: %q, within %v", out, time.Since(began))
			}
			if r := c.do("pause", "pp"); r.Code == 0 || !strings.Contains(r.Err, "is not running") {
				t.Errorf("pause of one that does not run: %d %q", r.Code, r.Err)
			}
			c.do("start", "pp").Must(t)
			c.do("pause", "pp").Must(t)
			c.do("kill", "pp").Must(t)
			if out := c.do("wait", "pp").Must(t); out != "137" {
				t.Errorf("after kill of a paused container: %q", out)
			}
			c.do("start", "pp").Must(t)
			c.do("pause", "pp").Must(t)
			c.do("rm", "-f", "pp").Must(t)
		})
	}
}

// The pause belongs to the kernel: a new daemon finds it.
func TestPauseOutlivesTheDaemon(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "pp", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "other", busybox, "sleep", "1000").Must(t)
	d.Sampan("pause", "pp").Must(t)
	d.Kill()
	d.Restart()
	if out := d.Sampan("ps", "--filter", "status=paused", "--format", "{{.Names}}").Must(t); out != "pp" {
		t.Errorf("paused after the restart: %q", out)
	}
	d.Sampan("unpause", "pp").Must(t)
	d.Sampan("exec", "pp", "true").Must(t)
	// An end of the daemon that stops its containers wakes a paused one.
	d.Sampan("pause", "pp").Must(t)
	began := time.Now()
	d.Stop()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the daemon's end took %v", took)
	}
	d.Restart()
}

func TestRename(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			id := c.do("run", "-d", "--name", "one", busybox, "sleep", "1000").Must(t)
			c.do("create", "--name", "two", busybox, "true").Must(t)
			defer c.do("rm", "-f", id, "two", "three")
			c.do("rename", "one", "three").Must(t)
			if out := c.do("inspect", "-f", "{{.Name}}", id).Must(t); out != "/three" {
				t.Errorf("name %q", out)
			}
			for _, tc := range []struct {
				to, want string
			}{
				{"two", `The container name "/two" is already in use by container`},
				{"three", "same name as its current name"},
				{"x", "Invalid container name (x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"},
				{"", "may be empty"},
			} {
				if r := c.do("rename", "three", tc.to); r.Code != 1 || !strings.Contains(r.Err, tc.want) {
					t.Errorf("rename to %q: exit %d, %q", tc.to, r.Code, r.Err)
				}
			}
			if r := c.do("rename", "one", "x"); r.Code != 1 || !strings.Contains(r.Err, "No such container: one") {
				t.Errorf("the old name: exit %d, %q", r.Code, r.Err)
			}
			c.do("create", "--name", "one", busybox, "true").Must(t)
			c.do("rm", "one").Must(t)
			d.Kill()
			d.Restart()
			if out := c.do("ps", "--format", "{{.Names}}").Must(t); out != "three" {
				t.Errorf("after a restart of the daemon: %q", out)
			}
		})
	}
}

func TestTop(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "web", busybox, "sh", "-c", "sleep 1000 & wait").Must(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			lab.Eventually(t, 10*time.Second, "both processes are there", func() bool {
				out := c.do("top", "web").Must(t)
				return strings.Count(out, "\n") == 2 && strings.HasSuffix(out, "  sleep 1000")
			})
			lines := strings.Split(c.do("top", "web").Must(t), "\n")
			if got := strings.Join(strings.Fields(lines[0]), " "); got != "UID PID PPID C STIME TTY TIME CMD" {
				t.Errorf("titles %q", got)
			}
			if f := strings.Fields(lines[2]); len(f) < 8 || f[0] != "root" || strings.Join(f[7:], " ") != "sleep 1000" {
				t.Errorf("row %q", lines[2])
			}
			if out := c.do("top", "web", "-o", "pid,comm").Must(t); !strings.Contains(out, "COMMAND") || !strings.Contains(out, "sleep") || strings.Contains(out, "sampand") {
				t.Errorf("with options: %q", out)
			}
			if r := c.do("top", "web", "-o", "comm"); r.Code == 0 || !strings.Contains(r.Err, "PID") {
				t.Errorf("without pid: %d %q", r.Code, r.Err)
			}
			if r := c.do("top", "web", "--nonsense"); r.Code == 0 || !strings.Contains(r.Err, "ps") {
				t.Errorf("wrong options: %d %q", r.Code, r.Err)
			}
		})
	}
	d.Sampan("stop", "-t", "0", "web").Must(t)
	if r := d.Docker("top", "web"); r.Code != 1 || !strings.Contains(r.Err, "is not running") {
		t.Errorf("a stopped one: %d %q", r.Code, r.Err)
	}
}
