package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// Every verb leaves its event, with Docker's name and attributes, in order.
func TestEventsOfALife(t *testing.T) {
	d := start(t)
	for _, c := range clients(d) {
		t.Run(c.name, func(t *testing.T) {
			since := fmt.Sprintf("%.9f", float64(time.Now().UnixNano())/1e9)
			id := c.do("run", "-d", "--name", "web", "--health-cmd", "true", "--health-interval", "50ms", busybox, "sleep", "1000").Must(t)
			becomes(t, d, "web", "healthy")
			for _, args := range [][]string{
				{"update", "--cpu-shares", "512", "web"}, {"top", "web"}, {"pause", "web"}, {"unpause", "web"}, {"rename", "web", "site"},
				{"stop", "-t", "0", "site"}, {"container", "prune", "-f"},
			} {
				c.do(args...).Must(t)
			}
			now := fmt.Sprintf("%.9f", float64(time.Now().UnixNano())/1e9)
			out := c.do("events", "--since", since, "--until", now, "--filter", "type=container", "--format",
				`{{.Action}} {{.Actor.ID}} {{index .Actor.Attributes "name"}} {{index .Actor.Attributes "oldName"}} {{index .Actor.Attributes "reclaimed"}}`).Must(t)
			var got []string
			for _, line := range strings.Split(out, "\n") {
				if !strings.HasPrefix(line, "exec_") { // the probes
					got = append(got, strings.TrimRight(strings.ReplaceAll(line, id, "ID"), " "))
				}
			}
			want := "create ID web|start ID web|health_status: healthy ID web|update ID web|top ID web|pause ID web|unpause ID web|rename ID site /web|" +
				"kill ID site|kill ID site|die ID site|stop ID site|destroy ID site|prune"
			text := strings.Join(got, "|")
			// A container that ends by its stop signal needs no second one.
			if text = strings.ReplaceAll(text, "<no value>", ""); !matchesEvents(text, want) {
				t.Errorf("got  %s\nwant %s", text, want)
			}
		})
	}
}

// matchesEvents compares names and objects; what is empty in one client is "<no
// value>" in the other, and prune's attribute is a number of bytes.
func matchesEvents(got, want string) bool {
	a, b := strings.Split(got, "|"), strings.Split(want, "|")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := strings.Join(strings.Fields(a[i]), " "), b[i]
		if x != y && (y != "prune" || !strings.HasPrefix(x, "prune ")) {
			return false
		}
	}
	return true
}

// What one container does must not delay another: a frozen group, a policy that
// starts something again and again, and probes that hang.
func TestATroubledContainerDelaysNoOther(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "frozen", busybox, "sleep", "1000").Must(t)
	d.Sampan("pause", "frozen").Must(t)
	d.Sampan("run", "-d", "--name", "crash", "--restart", "always", busybox, "false").Must(t)
	d.Sampan("run", "-d", "--name", "hung", "--health-cmd", "sleep 1000", "--health-interval", "10ms", "--health-timeout", "1h", busybox, "sleep", "1000").Must(t)
	d.Sampan("run", "-d", "--name", "well", busybox, "sleep", "1000").Must(t)
	began := time.Now()
	for _, args := range [][]string{{"ps"}, {"inspect", "hung"}, {"exec", "well", "true"}, {"stats", "--no-stream"}, {"top", "well"}, {"top", "frozen"}, {"stop", "-t", "0", "well"}, {"rm", "-f", "hung"}} {
		if r := d.Sampan(args...); r.Code != 0 {
			t.Errorf("%q: %s", args, r.Err)
		}
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the eight commands took %v", took)
	}
	lab.Eventually(t, policyWait, "the probe of a removed container is gone", func() bool { return d.Sampan("inspect", "hung").Code != 0 })
}
