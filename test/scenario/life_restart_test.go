package scenario

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

const policyWait = 20 * time.Second

// status is a container's state, exit code and number of restarts.
func status(t *testing.T, d *lab.Daemon, name string) (state string, code, restarts int) {
	t.Helper()
	out := d.Sampan("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", name).Must(t)
	if _, err := fmt.Sscan(out, &state, &code, &restarts); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return state, code, restarts
}

func TestRestartPolicies(t *testing.T) {
	d := start(t)
	t.Run("no", func(t *testing.T) {
		d.Sampan("run", "-d", "--name", "never", busybox, "sh", "-c", "exit 1").Must(t)
		d.Sampan("wait", "never").Must(t)
		time.Sleep(300 * time.Millisecond)
		if state, code, n := status(t, d, "never"); state != "exited" || code != 1 || n != 0 {
			t.Errorf("%s %d %d", state, code, n)
		}
	})
	t.Run("on-failure", func(t *testing.T) {
		d.Sampan("run", "-d", "--name", "thrice", "--restart", "on-failure:3", busybox, "sh", "-c", "echo once; exit 4").Must(t)
		lab.Eventually(t, policyWait, "three restarts and the end", func() bool {
			state, code, n := status(t, d, "thrice")
			return state == "exited" && code == 4 && n == 3
		})
		if out := d.Sampan("logs", "thrice").Must(t); out != "once\nonce\nonce\nonce" {
			t.Errorf("it ran: %q", out)
		}
		d.Sampan("run", "-d", "--name", "well", "--restart", "on-failure", busybox, "true").Must(t)
		d.Sampan("wait", "well").Must(t)
		if state, _, n := status(t, d, "well"); state != "exited" || n != 0 {
			t.Errorf("a success: %s, %d restarts", state, n)
		}
	})
	for _, policy := range []string{"always", "unless-stopped"} {
		t.Run(policy, func(t *testing.T) {
			d.Sampan("run", "-d", "--name", policy, "--restart", policy, busybox, "sleep", "1000").Must(t)
			for i := range 3 { // its own death, by a signal from inside the host
				pid := d.Sampan("inspect", "-f", "{{.State.Pid}}", policy).Must(t)
				if r := lab.Run(t, nil, "/usr/bin/busybox", "kill", "-9", pid); r.Code != 0 {
					t.Fatal(r.Err)
				}
				lab.Eventually(t, policyWait, "it runs again", func() bool {
					state, _, n := status(t, d, policy)
					return state == "running" && n == i+1
				})
			}
			d.Kill()
			d.Restart()
			if state, _, n := status(t, d, policy); state != "running" || n != 3 {
				t.Errorf("after a restart of the daemon: %s, %d restarts", state, n)
			}
			d.Sampan("stop", "-t", "0", policy).Must(t)
			time.Sleep(300 * time.Millisecond)
			if state, _, _ := status(t, d, policy); state != "exited" {
				t.Errorf("after a stop: %s", state)
			}
			d.Kill()
			d.Restart()
			if policy == "always" { // as in Docker: a new daemon starts it all the same
				lab.Eventually(t, policyWait, "it runs with the new daemon", func() bool {
					state, _, _ := status(t, d, policy)
					return state == "running"
				})
				return
			}
			time.Sleep(300 * time.Millisecond)
			if state, _, _ := status(t, d, policy); state != "exited" {
				t.Errorf("stopped, and %s with a new daemon", state)
			}
		})
	}
	t.Run("stop while it waits", func(t *testing.T) {
		d.Sampan("run", "-d", "--name", "crash", "--restart", "always", busybox, "false").Must(t)
		lab.Eventually(t, policyWait, "it waits for a restart", func() bool {
			state, _, n := status(t, d, "crash")
			return state == "restarting" && n > 3
		})
		if out := d.Docker("ps", "-a", "--filter", "name=crash", "--format", "{{.Status}}").Must(t); !strings.HasPrefix(out, "Restarting (1) ") {
			t.Errorf("status %q", out)
		}
		d.Docker("stop", "crash").Must(t)
		state, _, n := status(t, d, "crash")
		time.Sleep(2 * time.Second)
		if now, _, later := status(t, d, "crash"); state != "exited" || now != "exited" || later != n {
			t.Errorf("after the stop %s with %d restarts, then %s with %d", state, n, now, later)
		}
		d.Docker("update", "--restart", "no", "crash").Must(t)
		d.Docker("start", "crash").Must(t)
		d.Docker("wait", "crash").Must(t)
		if state, _, n := status(t, d, "crash"); state != "exited" || n != 0 {
			t.Errorf("with the policy no: %s, %d restarts", state, n)
		}
	})
}

// The waits between restarts grow: a container that ends at once must not keep
// the machine busy.
func TestRestartsBackOff(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "crash", "--restart", "always", busybox, "false").Must(t)
	time.Sleep(4 * time.Second)
	// 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s: five restarts in four seconds.
	if _, _, n := status(t, d, "crash"); n < 3 || n > 6 {
		t.Errorf("%d restarts in 4 s", n)
	}
	events := d.Sampan("events", "--since", "10s", "--until", "0s", "--filter", "container=crash", "--format", "{{.Action}}").Must(t)
	if n := strings.Count(events, "die"); n < 3 || n-strings.Count(events, "start") > 1 {
		t.Errorf("events %q", events)
	}
}

// A client that waits for a --rm container learns its exit code although the
// daemon was away when it ended.
func TestWaitForOneThatIsGone(t *testing.T) {
	d := start(t)
	id := d.Sampan("run", "-d", "--rm", "--name", "brief", busybox, "sh", "-c", "sleep 0.3; exit 42").Must(t)
	d.Kill()
	time.Sleep(600 * time.Millisecond)
	d.Restart()
	lab.Eventually(t, 5*time.Second, "it is removed", func() bool { return d.Sampan("inspect", id).Code != 0 })
	for _, c := range clients(d) {
		if out := c.do("wait", id).Must(t); out != "42" {
			t.Errorf("%s: wait gives %q", c.name, out)
		}
	}
	d.Kill()
	d.Restart()
	if out := d.Sampan("wait", id[:12]).Must(t); out != "42" {
		t.Errorf("after one more restart: %q", out)
	}
	if r := d.Sampan("wait", "brief"); r.Code == 0 {
		t.Error("its name is free, and names nothing")
	}
	gone := d.Sampan("run", "-d", busybox, "true").Must(t)
	d.Sampan("wait", gone).Must(t)
	d.Sampan("rm", gone).Must(t)
	if r := d.Sampan("wait", gone); r.Code == 0 {
		t.Error("one that a user removed is not known any more")
	}
}

// A plain read of the log of a container that writes without end ends.
func TestLogsOfAFlood(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "flood", busybox, "sh", "-c", "while :; do seq 1 100000; done").Must(t)
	lab.Eventually(t, 10*time.Second, "it writes", func() bool { return d.Sampan("logs", "--tail", "1", "flood").Out != "" })
	for _, c := range clients(d) {
		for range 5 {
			if out := c.do("logs", "--tail", "2", "flood").Must(t); strings.Count(out, "\n") != 1 {
				t.Errorf("%s: two lines are %d", c.name, strings.Count(out, "\n")+1)
			}
		}
		done := make(chan error, 1)
		cmd := exec.Command(clientPath(t, c.name), "-H", "unix:///run/sampan/sampan.sock", "logs", "flood")
		go func() { done <- cmd.Run() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		case <-time.After(commandPatience):
			_ = cmd.Process.Kill()
			t.Errorf("%s: logs did not end", c.name)
		}
	}
	if n, err := strconv.Atoi(d.Sampan("logs", "--tail", "1", "flood").Must(t)); err != nil || n < 1 {
		t.Errorf("last line: %d, %v", n, err)
	}
}

const commandPatience = 60 * time.Second
