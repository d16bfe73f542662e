package scenario

import (
	"strings"
	"testing"

	"github.com/sampan-containers/sampan/test/lab"
)

// client is one of the two command-line clients.
type client struct {
	name string
	do   func(args ...string) lab.Result
}

func clients(d *lab.Daemon) []client {
	return []client{{"sampan", d.Sampan}, {"docker", d.Docker}}
}

func TestRunReturnsTheContainersExitCode(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		for _, tc := range []struct {
			name string
			args []string
			code int
			out  string
		}{
			{"zero", []string{"run", "--rm", busybox, "echo", "hello"}, 0, "hello\n"},
			{"own code", []string{"run", "--rm", busybox, "sh", "-c", "exit 7"}, 7, ""},
			{"command missing", []string{"run", "--rm", busybox, "absent"}, 127, ""},
			{"path missing", []string{"run", "--rm", busybox, "/absent"}, 127, ""},
			{"a directory", []string{"run", "--rm", busybox, "/etc"}, 126, ""},
			{"not executable", []string{"run", "--rm", busybox, "/etc/noexec"}, 126, ""},
			{"unknown flag", []string{"run", "--no-such-flag", busybox}, 125, ""},
			{"network none", []string{"run", "--rm", "--network", "none", busybox, "echo", "alone"}, 0, "alone\n"},
			{"user", []string{"run", "--rm", "--user", "app", busybox, "id", "-u"}, 0, "1000\n"},
			{"environment", []string{"run", "--rm", "-e", "A=b c", busybox, "sh", "-c", "echo $A"}, 0, "b c\n"},
			{"hostname", []string{"run", "--rm", "-h", "web", busybox, "hostname"}, 0, "web\n"},
			{"stdin", []string{"run", "--rm", "-i", busybox, "cat"}, 0, ""},
		} {
			t.Run(c.name+"/"+tc.name, func(t *testing.T) {
				r := c.do(tc.args...)
				if r.Code != tc.code || r.Out != tc.out {
					t.Errorf("exit %d, stdout %q, stderr %q; want exit %d, stdout %q", r.Code, r.Out, r.Err, tc.code, tc.out)
				}
			})
		}
		if left := c.do("ps", "-aq").Must(t); left != "" && c.name == "docker" {
			t.Errorf("containers left: %q", left)
		}
	}
}

func TestLifeOfADetachedContainer(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			id := c.do("run", "-d", "--name", "web", busybox, "sh", "-c", `trap "echo bye; exit 3" TERM; echo up; while :; do sleep 0.1; done`).Must(t)
			if len(id) != 64 {
				t.Fatalf("id = %q", id)
			}
			if out := c.do("ps", "--format", "{{.Names}} {{.State}}").Must(t); out != "web running" {
				t.Errorf("ps = %q", out)
			}
			if out := c.do("exec", "web", "sh", "-c", "echo in; exit 0").Must(t); out != "in" {
				t.Errorf("exec = %q", out)
			}
			if r := c.do("exec", "web", "sh", "-c", "exit 9"); r.Code != 9 {
				t.Errorf("exec exit = %d", r.Code)
			}
			if r := c.do("exec", "web", "absent"); r.Code != 127 && r.Code != 126 {
				t.Errorf("exec of a missing command: exit %d: %s", r.Code, r.Err)
			}
			c.do("stop", "web").Must(t)
			if out := c.do("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}}", "web").Must(t); out != "exited 3 false" {
				t.Errorf("after stop: %q", out)
			}
			if out := c.do("logs", "web").Must(t); out != "up\nbye" {
				t.Errorf("logs = %q", out)
			}
			if out := c.do("wait", "web").Must(t); out != "3" {
				t.Errorf("wait = %q", out)
			}
			c.do("start", "web").Must(t)
			c.do("kill", "web").Must(t)
			if out := c.do("wait", "web").Must(t); out != "137" {
				t.Errorf("wait after kill = %q", out)
			}
			c.do("rm", "web").Must(t)
			if out := c.do("ps", "-aq").Must(t); out != "" {
				t.Errorf("left: %q", out)
			}
		})
	}
}

// The host must show nothing of a running container but one shim.
func TestRunningContainersLeaveTheHostClean(t *testing.T) {
	d := start(t)
	before := lab.Mounts(t)
	for range 3 {
		d.Sampan("run", "-d", busybox, "sleep", "1000").Must(t)
	}
	if after := lab.Mounts(t); after != before {
		t.Errorf("the host's mount table changed:\n%s\nwas:\n%s", after, before)
	}
	if ours := lab.OurProcesses(t); len(ours) != 4 {
		t.Errorf("processes of ours: %q; want sampand and 3 shims", ours)
	}
}

func TestBatchForms(t *testing.T) {
	d := start(t)
	for range 3 {
		d.Sampan("run", "-d", busybox, "sleep", "1000").Must(t)
	}
	ids := strings.Fields(d.Sampan("ps", "-aq").Must(t))
	r := d.Sampan(append([]string{"rm", "-f", "absent"}, ids...)...)
	// As docker's client since 23: rm -f of what is not there is said, and no failure.
	if r.Code != 0 || !strings.Contains(r.Err, "absent") {
		t.Errorf("rm -f with a missing name: exit %d, stderr %q", r.Code, r.Err)
	}
	if left := d.Sampan("ps", "-aq").Must(t); left != "" {
		t.Errorf("left: %q", left)
	}
	if r := d.Sampan("rm", "absent", "absent2"); r.Code != 1 || !strings.Contains(r.Err, "absent2") {
		t.Errorf("rm of missing names: exit %d, stderr %q", r.Code, r.Err)
	}
}
