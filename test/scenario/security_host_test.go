package scenario

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// prompt is how soon the engine must answer, whatever its containers do.
const prompt = 2 * time.Second

// TestHostileContainersLeaveTheHostAlone is H1: a fork bomb, a full /dev/shm and endless
// output at once, all with the defaults. The engine answers, also one that starts meanwhile.
func TestHostileContainersLeaveTheHostAlone(t *testing.T) {
	d := start(t)
	id := d.Sampan("run", "-d", "--name", "bomb", "--stop-timeout", "0", "--network", "none", busybox, "sh", "-c", "f() { f | f & }; f 2>/dev/null; sleep 1000").Must(t)
	d.Sampan("run", "-d", "--name", "shm", "--stop-timeout", "0", "--network", "none", busybox, "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M; sleep 1000").Must(t)
	d.Sampan("run", "-d", "--name", "flood", "--stop-timeout", "0", "--network", "none", busybox, "yes").Must(t)
	group := func(file string) int {
		paths, _ := filepath.Glob("/sys/fs/cgroup/pids/sampan/" + id + "/" + file)
		if unified, _ := filepath.Glob("/sys/fs/cgroup/sampan/" + id + "/" + file); len(paths) == 0 {
			paths = unified
		}
		if len(paths) != 1 {
			t.Fatalf("no %s of the container", file)
		}
		raw, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	limit := group("pids.max")
	lab.Eventually(t, 30*time.Second, "the bomb goes off", func() bool { return group("pids.current") > limit/2 })
	answers := func(when string) {
		t.Helper()
		for range 5 {
			began := time.Now()
			out := d.Sampan("ps", "--format", "{{.Names}}").Must(t)
			if took := time.Since(began); took > lab.Scale(prompt) {
				t.Errorf("%s: ps took %v", when, took)
			}
			if len(strings.Fields(out)) != 3 {
				t.Errorf("%s: ps shows %q", when, out)
			}
		}
	}
	answers("at first")
	if now := group("pids.current"); now > limit {
		t.Errorf("%d processes with a limit of %d", now, limit)
	}
	reload(t, d, reloaded)
	answers("after a reload of the daemon")
	for _, rules := range []string{"flush ruleset", firewallReload, "delete table inet admin"} {
		lab.Run(t, []byte(rules), "nft", "-f", "-").Must(t)
		answers("after " + rules)
	}
	d.Kill()
	began := time.Now()
	d.Restart()
	if took := time.Since(began); took > lab.Scale(5*time.Second) {
		t.Errorf("the next daemon is ready after %v", took)
	}
	answers("after a restart of the daemon")
	lab.Eventually(t, 30*time.Second, "/dev/shm of 64 MiB is full", func() bool {
		out := d.Sampan("exec", "shm", "busybox", "df", "-m", "/dev/shm").Must(t)
		return strings.Contains(out, "100%") && strings.Contains(out, " 64 ")
	})
	if r := d.Sampan("run", "--rm", "--network", "none", busybox, "echo", "room"); r.Out != "room\n" {
		t.Errorf("a new container: %+v", r)
	}
	d.Sampan("rm", "-f", "bomb", "shm", "flood").Must(t)
}

// TestDefaultLimitOfProcesses: it is the daemon's, a container may have another or none,
// and the API tells the one that was asked for.
func TestDefaultLimitOfProcesses(t *testing.T) {
	d := start(t, "--default-pids-limit", "40")
	const many = "for i in $(seq 60); do sleep 1 & done; echo made"
	for _, c := range []struct {
		flags []string
		made  bool
		shown string
	}{
		{nil, false, "<nil>"}, {[]string{"--pids-limit", "20"}, false, "20"},
		{[]string{"--pids-limit", "100"}, true, "100"}, {[]string{"--pids-limit", "-1"}, true, "<nil>"},
	} {
		args := append([]string{"run", "--name", "limited", "--network", "none"}, c.flags...)
		r := d.Docker(append(args, busybox, "sh", "-c", many)...)
		if made := strings.Contains(r.Out, "made"); made != c.made {
			t.Errorf("%v: 60 processes: %v, want %v (%s)", c.flags, made, c.made, r.Err)
		}
		if shown := d.Docker("inspect", "-f", "{{.HostConfig.PidsLimit}}", "limited").Must(t); shown != c.shown {
			t.Errorf("%v: inspect shows %s, want %s", c.flags, shown, c.shown)
		}
		d.Sampan("rm", "-f", "limited").Must(t)
	}
	// A running container loses its limit, and gets another.
	d.Sampan("run", "-d", "--name", "limited", "--stop-timeout", "0", "--network", "none", busybox, "sleep", "1000").Must(t)
	for _, c := range []struct {
		limit string
		made  bool
	}{{"-1", true}, {"30", false}} {
		d.Docker("update", "--pids-limit", c.limit, "limited").Must(t)
		if r := d.Sampan("exec", "limited", "sh", "-c", many); strings.Contains(r.Out, "made") != c.made {
			t.Errorf("60 processes after update --pids-limit %s: %+v", c.limit, r)
		}
		time.Sleep(2 * time.Second) // the sleepers end
	}
}
