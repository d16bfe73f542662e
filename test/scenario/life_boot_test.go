package scenario

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/test/lab"
)

// reboot plays the end of the machine: daemon and supervisors die at once, and what
// lies on the tmpfs is gone.
func reboot(t *testing.T, d *lab.Daemon, names ...string) {
	t.Helper()
	var shims []int
	for _, name := range names {
		shims = append(shims, d.ShimOf(name))
	}
	d.Kill()
	for _, pid := range shims {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range shims {
		lab.Eventually(t, 5*time.Second, "a supervisor is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	}
	entries, err := os.ReadDir("/run/sampan")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll("/run/sampan/" + e.Name()); err != nil {
			t.Fatal(err)
		}
	}
	d.Restart()
}

// After a reboot what should run does, in the order of the labels, and what should
// not does not.
func TestReboot(t *testing.T) {
	d := start(t)
	run := func(name string, args ...string) {
		d.Sampan(append(append([]string{"run", "-d", "--name", name, "--network", "none"}, args...), busybox, "sleep", "1000")...).Must(t)
	}
	run("app", "--restart", "always", "--label", "sampan.after=db:healthy,cache,nobody")
	run("db", "--restart", "unless-stopped", "--label", "sampan.after=cache", "--health-cmd", "sleep 0.3", "--health-interval", "50ms")
	run("cache", "--restart", "on-failure:5")
	run("circle1", "--restart", "always", "--label", "sampan.after=circle2")
	run("circle2", "--restart", "always", "--label", "sampan.after=circle1")
	run("plain")
	run("stopped", "--restart", "unless-stopped")
	d.Sampan("stop", "-t", "0", "stopped").Must(t)
	since := fmt.Sprint(time.Now().Unix())
	reboot(t, d, "app", "db", "cache", "circle1", "circle2", "plain")
	for _, name := range []string{"app", "db", "cache", "circle1", "circle2"} {
		lab.Eventually(t, policyWait, name+" runs again", func() bool { return running(t, d, name) })
	}
	var order []string
	out := d.Sampan("events", "--since", since, "--until", "0s", "--filter", "event=start", "--format", `{{index .Actor.Attributes "name"}}`).Must(t)
	for _, name := range strings.Fields(out) {
		if !strings.HasPrefix(name, "circle") {
			order = append(order, name)
		}
	}
	if got := strings.Join(order, " "); !strings.HasSuffix(got, "cache db app") {
		t.Errorf("started in the order %q", got)
	}
	if health(t, d, "db").Status != container.Healthy {
		t.Error("app did not wait for the health of db")
	}
	for _, name := range []string{"plain", "stopped"} {
		if running(t, d, name) {
			t.Errorf("%s runs", name)
		}
	}
	if _, code, _ := status(t, d, "plain"); code != 255 {
		t.Errorf("the exit code that nobody saw is %d, want 255", code)
	}
	for _, bad := range []string{"a b", "db:sick", ","} {
		if r := d.Sampan("create", "--label", "sampan.after="+bad, busybox, "true"); r.Code == 0 || !strings.Contains(r.Err, "sampan.after") {
			t.Errorf("label %q: %d %q", bad, r.Code, r.Err)
		}
	}
}

func running(t *testing.T, d *lab.Daemon, name string) bool {
	t.Helper()
	state, _, _ := status(t, d, name)
	return state == "running"
}

// A port is checked without a command, and an unhealthy container is restarted or
// stopped where that is asked for; by both clients.
func TestHealthOfAPort(t *testing.T) {
	d := start(t)
	const server = "mkdir /w; echo fine >/w/ok; while :; do httpd -f -p 8080 -h /w; done"
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			since := fmt.Sprint(time.Now().Unix())
			defer c.do("rm", "-f", "http", "tcp", "sick", "loop")
			c.do("run", "-d", "--name", "http", "--health-cmd", "http:8080/ok", "--health-interval", "50ms", busybox, "sh", "-c", server).Must(t)
			c.do("run", "-d", "--name", "tcp", "--network", "none", "--health-cmd", "tcp:8080", "--health-interval", "50ms", busybox, "sh", "-c", server).Must(t)
			for _, name := range []string{"http", "tcp"} {
				becomes(t, d, name, container.Healthy)
			}
			h := health(t, d, "http")
			if last := h.Log[len(h.Log)-1]; last.ExitCode != 0 || !strings.Contains(last.Output, "200 OK\nfine") {
				t.Errorf("%+v", last)
			}
			// One that says no is stopped, or restarted again and again.
			c.do("run", "-d", "--name", "sick", "--stop-signal", "KILL", "--restart", "always", "--health-cmd", "http:8080/absent", "--health-interval", "50ms",
				"--health-retries", "2", "--label", "sampan.health-action=stop", busybox, "sh", "-c", server).Must(t)
			lab.Eventually(t, policyWait, "the unhealthy one is stopped, for good", func() bool {
				state, _, _ := status(t, d, "sick")
				return state == "exited"
			})
			begun := c.do("run", "-d", "--name", "loop", "--stop-signal", "KILL", "--health-cmd", "tcp:1", "--health-interval", "50ms",
				"--health-retries", "2", "--label", "sampan.health-action=restart", busybox, "sleep", "1000")
			begun.Must(t)
			lab.Eventually(t, policyWait, "the other is restarted twice", func() bool {
				out := c.do("events", "--since", since, "--until", fmt.Sprint(time.Now().Unix()+1), "--filter", "event=restart", "--filter", "container=loop").Must(t)
				return strings.Count(out, "\n") >= 1
			})
		})
	}
	if r := d.Sampan("create", "--health-action", "explode", busybox, "true"); r.Code == 0 || !strings.Contains(r.Err, "restart, stop or none") {
		t.Errorf("a wrong action: %d %q", r.Code, r.Err)
	}
	if r := d.Sampan("create", "--label", "sampan.health-action=explode", busybox, "true"); r.Code == 0 || !strings.Contains(r.Err, "invalid health action") {
		t.Errorf("a wrong action by label: %d %q", r.Code, r.Err)
	}
}
