package scenario

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// counting writes one number after the other to its output and into a file.
const counting = `trap "exit 5" TERM; i=0; while :; do i=$((i+1)); echo $i; echo $i >/count; sleep 0.05; done`

func criuWorks() bool { return exec.Command("criu", "check").Run() == nil }

// TestCheckpointRefused: where criu does not work, its own words are in the error, nothing
// of the checkpoint is left and the container goes on.
func TestCheckpointRefused(t *testing.T) {
	if _, err := exec.LookPath("criu"); err != nil {
		t.Skip("no criu: install the Debian package criu")
	}
	if criuWorks() {
		t.Skip("criu works on this kernel: nothing is refused")
	}
	d := start(t, "--experimental")
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			c.do("run", "-d", "--name", "cp", busybox, "sh", "-c", counting).Must(t)
			defer c.do("rm", "-f", "cp")
			if r := c.do("checkpoint", "create", "cp", "one"); r.Code != 1 || !strings.Contains(r.Err, "criu failed: type dump") || !strings.Contains(r.Err, "log file: ") {
				t.Errorf("exit code %d, %q", r.Code, r.Err)
			}
			if out := c.do("checkpoint", "ls", "cp").Must(t); out != "CHECKPOINT NAME" {
				t.Errorf("what failed is listed: %q", out)
			}
			if out := c.do("inspect", "-f", "{{.State.Status}}", "cp").Must(t); out != "running" {
				t.Errorf("the container is %s", out)
			}
		})
	}
	checkWrongCheckpoints(t, d)
}

// checkWrongCheckpoints: what is refused before criu is asked.
func checkWrongCheckpoints(t *testing.T, d *lab.Daemon) {
	d.Sampan("create", "--name", "still", busybox, "true").Must(t)
	defer d.Sampan("rm", "-f", "still")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"checkpoint", "create", "still", "one"}, "not running"},
		{[]string{"checkpoint", "create", "absent", "one"}, "No such container"},
		{[]string{"checkpoint", "create", "still", "../one"}, "nvalid checkpoint ID"},
		{[]string{"checkpoint", "rm", "still", "absent"}, "checkpoint absent does not exist"},
		{[]string{"checkpoint", "ls", "--checkpoint-dir", "relative", "still"}, "must be absolute"},
		{[]string{"start", "--checkpoint", "absent", "still"}, "checkpoint absent does not exist"},
		{[]string{"start", "--checkpoint", "..", "still"}, "nvalid checkpoint ID"},
	} {
		if r := d.Sampan(tc.args...); r.Code == 0 || !strings.Contains(r.Err, tc.want) {
			t.Errorf("%q: exit %d, %q; want %q", tc.args, r.Code, r.Err, tc.want)
		}
	}
}

// TestCheckpoint: a container is saved, ends, and goes on from where it was, also with
// another daemon; its log, network, limits, commands and exit code are as before.
func TestCheckpoint(t *testing.T) {
	if !criuWorks() {
		t.Skip("criu does not work on this kernel (make test-vm runs this where it does)")
	}
	d := start(t, "--experimental")
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			c.do("run", "-d", "--name", "cp", "--memory", "64m", "-e", "A=b", busybox, "sh", "-c", counting).Must(t)
			defer c.do("rm", "-f", "cp")
			last := func() int {
				t.Helper()
				n, _ := strconv.Atoi(c.do("logs", "--tail", "1", "cp").Must(t))
				return n
			}
			grows := func(from int) {
				t.Helper()
				lab.Eventually(t, 10*time.Second, "a number after "+strconv.Itoa(from), func() bool { return last() > from })
			}
			status := func() string {
				return c.do("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "cp").Must(t)
			}
			grows(3)
			if out := c.do("checkpoint", "create", "--leave-running", "cp", "one").Must(t); out != "one" {
				t.Errorf("checkpoint create prints %q", out)
			}
			if out := status(); out != "running 0" {
				t.Errorf("left running, and is %s", out)
			}
			if r := c.do("checkpoint", "create", "cp", "one"); r.Code == 0 || !strings.Contains(r.Err, "already exists") {
				t.Errorf("the same name again: %d, %q", r.Code, r.Err)
			}
			saved := last()
			grows(saved)
			c.do("checkpoint", "create", "cp", "two").Must(t)
			if out := c.do("wait", "cp").Must(t); out != "137" {
				t.Errorf("saved without --leave-running, it ended with %s", out)
			}
			if out := c.do("checkpoint", "ls", "cp").Must(t); out != "CHECKPOINT NAME\none\ntwo" {
				t.Errorf("checkpoint ls prints %q", out)
			}
			ended := last()
			c.do("start", "--checkpoint", "two", "cp").Must(t)
			grows(ended + 3)
			checkCount(t, c.do("logs", "cp").Must(t))
			if out := c.do("exec", "cp", "sh", "-c", "cat /proc/1/comm; echo $A; cat /sys/fs/cgroup/memory.max; ip -o -4 addr show eth0 | wc -l").Must(t); out != "sh\nb\n67108864\n1" {
				t.Errorf("inside: %q", out)
			}
			d.Kill()
			d.Restart("--experimental")
			grows(last())
			c.do("pause", "cp").Must(t)
			c.do("unpause", "cp").Must(t)
			c.do("stop", "cp").Must(t)
			if out := status(); out != "exited 5" {
				t.Errorf("after stop it is %s: its handler of TERM is lost", out)
			}
			// From the older one, and then as usual.
			c.do("start", "--checkpoint", "one", "cp").Must(t)
			grows(0)
			if n, _ := strconv.Atoi(c.do("exec", "cp", "cat", "/count").Must(t)); n <= 3 {
				t.Errorf("a start from the older checkpoint counts from %d", n)
			}
			c.do("kill", "cp").Must(t)
			c.do("checkpoint", "rm", "cp", "one").Must(t)
			if out := c.do("checkpoint", "ls", "cp").Must(t); out != "CHECKPOINT NAME\ntwo" {
				t.Errorf("after rm there is %q", out)
			}
			c.do("wait", "cp")
			c.do("start", "cp").Must(t)
			c.do("rm", "-f", "cp").Must(t)
		})
	}
	t.Run("elsewhere, with a terminal", func(t *testing.T) {
		dir := t.TempDir()
		d.Sampan("run", "-dit", "--name", "tt", busybox, "sh", "-c", counting).Must(t)
		defer d.Sampan("rm", "-f", "tt")
		time.Sleep(time.Second)
		d.Sampan("checkpoint", "create", "--checkpoint-dir", dir, "tt", "away").Must(t)
		d.Sampan("wait", "tt").Must(t)
		if out := d.Sampan("checkpoint", "ls", "tt").Must(t); out != "CHECKPOINT NAME" {
			t.Errorf("in the usual place there is %q", out)
		}
		d.Sampan("start", "--checkpoint-dir", dir, "--checkpoint", "away", "tt").Must(t)
		if out := d.Sampan("inspect", "-f", "{{.State.Status}}", "tt").Must(t); out != "running" {
			t.Errorf("it is %s", out)
		}
		d.Sampan("checkpoint", "rm", "--checkpoint-dir", dir, "tt", "away").Must(t)
	})
	checkWrongCheckpoints(t, d)
}

// checkCount: the numbers of the log follow each other. A line that was written between
// the dump's images and the end may be written once more.
func checkCount(t *testing.T, text string) {
	t.Helper()
	before := 0
	for _, line := range strings.Fields(text) {
		n, err := strconv.Atoi(line)
		if err != nil || n != before+1 && n != before {
			t.Errorf("%q follows %d", line, before)
		}
		before = n
	}
}
