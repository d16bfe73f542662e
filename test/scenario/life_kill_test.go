package scenario

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/lab"
)

// Restart policy, health, --rm, wait and events are right whenever the daemon is
// killed: each round kills it at a random moment while all of them act.
func TestDaemonKilledAtRandomMoments(t *testing.T) {
	d := start(t)
	// Nobody starts a daemon but this test: the clients here name the host.
	sampan := func(args ...string) *exec.Cmd {
		return exec.Command(lab.Bin(t, "sampan"), append([]string{"-H", "unix:///run/sampan/sampan.sock"}, args...)...)
	}
	d.Sampan("run", "-d", "--name", "checked", "--health-cmd", "test ! -e /tmp/sick", "--health-interval", "50ms", "--health-retries", "1", busybox, "sleep", "100000").Must(t)
	becomes(t, d, "checked", container.Healthy)
	pid := d.Sampan("inspect", "-f", "{{.State.Pid}}", "checked").Must(t)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	for round := range counts.Of("daemon.kill.life") {
		moment := time.Duration(random.Int64N(int64(600 * time.Millisecond)))
		since := fmt.Sprintf("%.9f", float64(time.Now().UnixNano())/1e9)
		fails, waited := fmt.Sprintf("fails%d", round), fmt.Sprintf("waited%d", round)
		// Three runs by its policy: it ends each time by itself.
		d.Sampan("run", "-d", "--name", fails, "--restart", "on-failure:2", "--network", "none", busybox, "sh", "-c", "echo run; sleep 0.05; exit 3").Must(t)
		d.Sampan("run", "-d", "--name", waited, "--network", "none", busybox, "sh", "-c", "sleep 0.3; exit 9").Must(t)
		foreground := sampan("run", "--rm", "--name", fmt.Sprintf("brief%d", round), "--network", "none", busybox, "sh", "-c", "sleep 0.2; exit 7")
		detached := fmt.Sprintf("auto%d", round)
		d.Sampan("run", "-d", "--rm", "--name", detached, "--network", "none", busybox, "sleep", "0.25").Must(t)
		if err := foreground.Start(); err != nil {
			t.Fatal(err)
		}
		lab.Eventually(t, policyWait, "the container in front runs", func() bool {
			return d.Sampan("inspect", fmt.Sprintf("brief%d", round)).Code == 0 || foreground.ProcessState != nil
		})
		sick := round%2 == 0
		change := []string{"exec", "checked", "sh", "-c", "echo > /tmp/sick"}
		if !sick {
			change[4] = "busybox rm -f /tmp/sick"
		}
		d.Sampan(change...).Must(t)
		time.Sleep(moment)
		d.Kill()
		time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
		d.Restart()

		about := fmt.Sprintf("round %d, killed after %v (seed %d)", round, moment, seed)
		var state string
		var code, restarts int
		for end := time.Now().Add(lab.Scale(policyWait)); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if state, code, restarts = status(t, d, fails); state == "exited" {
				break
			}
		}
		if state != "exited" || code != 3 || restarts != 2 {
			t.Errorf("%s: the failing one is %s with code %d after %d restarts, want exited, 3, 2; %s", about, state, code, restarts,
				d.Sampan("inspect", "-f", "{{json .State}}", fails).Out)
		}
		if out := d.Sampan("logs", fails).Must(t); out != "run\nrun\nrun" {
			t.Errorf("%s: it ran %d times, want 3", about, strings.Count(out, "run"))
		}
		if out := d.Sampan("wait", waited).Must(t); out != "9" {
			t.Errorf("%s: wait says %q, want 9", about, out)
		}
		_ = foreground.Wait()
		if code := foreground.ProcessState.ExitCode(); code != 7 {
			t.Errorf("%s: run --rm ended with %d, want 7", about, code)
		}
		lab.Eventually(t, policyWait, about+": --rm containers are gone", func() bool {
			return d.Sampan("inspect", detached).Code != 0 && d.Sampan("inspect", fmt.Sprintf("brief%d", round)).Code != 0
		})
		want := container.Healthy
		if sick {
			want = container.Unhealthy
		}
		becomes(t, d, "checked", want)
		checkEvents(t, d, about, since, fails, string(want))
		if now := d.Sampan("inspect", "-f", "{{.State.Pid}}", "checked").Must(t); now != pid {
			t.Fatalf("%s: pid %s became %s", about, pid, now)
		}
		d.Sampan("rm", fails, waited).Must(t)
	}
}

// checkEvents looks at what is told of a round: in order of time, never twice, and
// from before the kill as well as from after it. An event of the very moment of the
// kill may be missing, since no daemon lived to tell it.
func checkEvents(t *testing.T, d *lab.Daemon, about, since, fails, health string) {
	t.Helper()
	out := d.Sampan("events", "--since", since, "--until", "0s", "--format", `{{.TimeNano}} {{.Action}} {{index .Actor.Attributes "name"}}`).Must(t)
	last, seen := int64(0), map[string]int{}
	for _, line := range strings.Split(out, "\n") {
		stamp, what, _ := strings.Cut(line, " ")
		at, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil || at < last {
			t.Errorf("%s: event %q after %d: %v", about, line, last, err)
		}
		last = at
		seen[what]++
	}
	if n := seen["create "+fails]; n != 1 {
		t.Errorf("%s: %d events of the creation, want 1:\n%s", about, n, out)
	}
	for what, limit := range map[string]int{"start " + fails: 3, "die " + fails: 3, "health_status: " + health + " checked": 1} {
		if n := seen[what]; n > limit || n < limit-1 {
			t.Errorf("%s: %d times %q, want %d (one may be lost)", about, n, what, limit)
		}
	}
}
