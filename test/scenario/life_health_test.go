package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/test/lab"
)

func health(t *testing.T, d *lab.Daemon, name string) *container.Health {
	t.Helper()
	var h *container.Health
	if err := json.Unmarshal([]byte(d.Sampan("inspect", "-f", "{{json .State.Health}}", name).Must(t)), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// becomes waits for a health.
func becomes(t *testing.T, d *lab.Daemon, name string, want container.HealthStatus) {
	t.Helper()
	lab.Eventually(t, policyWait, name+" becomes "+string(want), func() bool {
		h := health(t, d, name)
		return h != nil && h.Status == want
	})
}

func TestHealth(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			since := fmt.Sprint(time.Now().Unix())
			c.do("run", "-d", "--name", "web", "--health-cmd", "echo looked; test -e /tmp/ok", "--health-interval", "100ms", "--health-timeout", "5s",
				"--health-retries", "2", "--health-start-period", "0s", busybox, "sh", "-c", "sleep 0.3; echo > /tmp/ok; sleep 1000").Must(t)
			defer c.do("rm", "-f", "web")
			if out := c.do("ps", "--filter", "name=web", "--filter", "health=starting", "--format", "{{.Status}}").Out; out != "" && !strings.Contains(out, "(health: starting)") {
				t.Errorf("ps at first: %q", out)
			}
			becomes(t, d, "web", container.Healthy)
			if out := c.do("ps", "--filter", "health=healthy", "--format", "{{.Names}} {{.Status}}").Must(t); !strings.HasPrefix(out, "web Up ") || !strings.HasSuffix(out, " (healthy)") {
				t.Errorf("ps %q", out)
			}
			lab.Eventually(t, policyWait, "five results are kept", func() bool { return len(health(t, d, "web").Log) == 5 })
			h := health(t, d, "web")
			if last := h.Log[4]; len(h.Log) != 5 || last.ExitCode != 0 || last.Output != "looked\n" || last.End.Before(last.Start) || h.FailingStreak != 0 {
				t.Errorf("health %+v, last %+v", h, last)
			}
			c.do("exec", "web", "busybox", "rm", "/tmp/ok").Must(t)
			becomes(t, d, "web", container.Unhealthy)
			if h := health(t, d, "web"); h.FailingStreak < 2 || h.Log[len(h.Log)-1].ExitCode != 1 {
				t.Errorf("health %+v", h)
			}
			if out := c.do("ps", "--filter", "health=unhealthy", "--format", "{{.Status}}").Must(t); !strings.HasSuffix(out, " (unhealthy)") {
				t.Errorf("ps %q", out)
			}
			// A pause stops the probes.
			c.do("pause", "web").Must(t)
			time.Sleep(150 * time.Millisecond)
			n := health(t, d, "web").FailingStreak
			time.Sleep(400 * time.Millisecond)
			if now := health(t, d, "web").FailingStreak; now != n {
				t.Errorf("paused, and the streak went from %d to %d", n, now)
			}
			c.do("unpause", "web").Must(t)
			c.do("exec", "web", "sh", "-c", "echo > /tmp/ok").Must(t)
			becomes(t, d, "web", container.Healthy)
			// The next daemon goes on where this one ended.
			d.Kill()
			d.Restart()
			if h := health(t, d, "web"); h.Status != container.Healthy || len(h.Log) == 0 {
				t.Errorf("after a restart of the daemon: %+v", h)
			}
			c.do("exec", "web", "busybox", "rm", "/tmp/ok").Must(t)
			becomes(t, d, "web", container.Unhealthy)
			events := c.do("events", "--since", since, "--until", fmt.Sprint(time.Now().Unix()+1), "--filter", "event=health_status", "--format", "{{.Action}}").Must(t)
			if got := strings.Split(events, "\n"); len(got) == 0 || got[len(got)-1] != "health_status: unhealthy" {
				t.Errorf("events %q", events)
			}
			c.do("stop", "-t", "0", "web").Must(t)
			if h := health(t, d, "web"); h.Status != container.Unhealthy {
				t.Errorf("one that does not run is %s", h.Status)
			}
			c.do("start", "web").Must(t)
			if out := c.do("ps", "--format", "{{.Status}}").Must(t); !strings.Contains(out, "health") {
				t.Errorf("started again: %q", out)
			}
		})
	}
}

func TestProbesThatFail(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "slow", "--health-cmd", "echo begun; sleep 100", "--health-interval", "50ms", "--health-timeout", "200ms", "--health-retries", "1", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "none", "--no-healthcheck", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "long", "--health-cmd", "yes | head -c 100000", "--health-interval", "50ms", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "start", "--health-cmd", "false", "--health-interval", "50ms", "--health-start-interval", "50ms", "--health-start-period", "1h",
		"--health-retries", "1", busybox, "sleep", "1000").Must(t)
	becomes(t, d, "slow", container.Unhealthy)
	if r := health(t, d, "slow").Log[0]; r.ExitCode != -1 || !strings.HasPrefix(r.Output, "Health check exceeded timeout (200ms)") || !strings.Contains(r.Output, "begun") {
		t.Errorf("result %+v", r)
	}
	// The probe's process does not stay.
	lab.Eventually(t, policyWait, "the probes are killed", func() bool {
		return strings.Count(d.Sampan("top", "slow").Must(t), "sleep 100\n") <= 1
	})
	if h := health(t, d, "none"); h != nil {
		t.Errorf("no check has a health: %+v", h)
	}
	becomes(t, d, "long", container.Healthy)
	if n := len(health(t, d, "long").Log[0].Output); n < 4096 || n > 4200 {
		t.Errorf("%d bytes of output are kept", n)
	}
	lab.Eventually(t, policyWait, "probes in the start period", func() bool { return len(health(t, d, "start").Log) >= 3 })
	if h := health(t, d, "start"); h.Status != container.Starting || h.FailingStreak != 0 {
		t.Errorf("within the start period: %+v", h)
	}
	for _, tc := range []struct {
		flag, value, want string
	}{
		{"--health-interval", "1us", "Interval in Healthcheck cannot be less than 1ms"},
		{"--health-timeout", "1us", "Timeout in Healthcheck cannot be less than 1ms"},
	} {
		if r := d.Docker("run", "--rm", "--health-cmd", "true", tc.flag, tc.value, busybox, "true"); r.Code != 125 || !strings.Contains(r.Err, tc.want) {
			t.Errorf("%s %s: exit %d, %q", tc.flag, tc.value, r.Code, r.Err)
		}
	}
}

// An image's check is inherited, and can be changed in parts.
func TestHealthcheckOfAnImage(t *testing.T) {
	d := start(t)
	d.Sampan("import", "--change", `HEALTHCHECK --interval=50ms CMD test -e /tmp/ok`, busyboxTar(t), "checked:1").Must(t)
	d.Sampan("run", "-d", "--name", "web", "--health-retries", "1", "checked:1", "sleep", "1000").Must(t)
	becomes(t, d, "web", container.Unhealthy)
	out := d.Docker("inspect", "-f", "{{json .Config.Healthcheck}}", "web").Must(t)
	var h container.HealthConfig
	if err := json.Unmarshal([]byte(out), &h); err != nil || h.Interval != 50*time.Millisecond || h.Retries != 1 || !slices.Equal(h.Test, []string{"CMD-SHELL", "test -e /tmp/ok"}) {
		t.Errorf("check %s, %v", out, err)
	}
	d.Docker("run", "-d", "--name", "off", "--no-healthcheck", "checked:1", "sleep", "1000").Must(t)
	if h := health(t, d, "off"); h != nil {
		t.Errorf("switched off: %+v", h)
	}
}
