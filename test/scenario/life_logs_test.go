package scenario

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/lab"
)

// Whatever driver keeps a log, what is read is what was written, over rotation and
// compression, by both clients.
func TestLogDrivers(t *testing.T) {
	const lines = 3000
	d := start(t)
	for _, tc := range []struct {
		name string
		opts []string
		// packed: old files end up compressed.
		packed bool
	}{
		{"json-file", nil, false},
		{"json-file compressed", []string{"--log-opt", "max-size=40k", "--log-opt", "max-file=50", "--log-opt", "compress=true"}, true},
		{"local", []string{"--log-driver", "local"}, false},
		{"local compressed", []string{"--log-driver", "local", "--log-opt", "max-size=20k", "--log-opt", "max-file=50"}, true},
		{"local plain", []string{"--log-driver", "local", "--log-opt", "max-size=20k", "--log-opt", "max-file=50", "--log-opt", "compress=false"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := append([]string{"run", "--name", "log", "--network", "none", "--label", "team=blue", "--log-opt", "labels=team"}, tc.opts...)
			script := fmt.Sprintf("for i in $(seq 1 %d); do echo out $i; done; echo last >&2", lines)
			follow := make(chan string, 1)
			d.Sampan(append(append([]string{"create"}, run[1:]...), busybox, "sh", "-c", script)...).Must(t)
			defer d.Sampan("rm", "-f", "log")
			d.Sampan("start", "log").Must(t)
			go func() {
				out, err := exec.Command(lab.Bin(t, "sampan"), "logs", "-f", "log").Output()
				follow <- fmt.Sprint(string(out), err)
			}()
			d.Sampan("wait", "log").Must(t)
			want := make([]string, lines)
			for i := range want {
				want[i] = "out " + strconv.Itoa(i+1)
			}
			dir := filepath.Dir(logPath(t, d, "log"))
			if tc.packed {
				lab.Eventually(t, policyWait, "old files are compressed", func() bool {
					plain, _ := filepath.Glob(dir + "/*.log.*[0-9]")
					packed, _ := filepath.Glob(dir + "/*.log.*.gz")
					return len(plain) == 0 && len(packed) > 2
				})
			}
			for _, c := range clients(d) {
				if r := c.do("logs", "log"); r.Out != strings.Join(want, "\n")+"\n" || r.Err != "last\n" || r.Code != 0 {
					t.Errorf("%s: %d lines of %d, stderr %q", c.name, strings.Count(r.Out, "\n"), lines, r.Err)
				}
				if r := c.do("logs", "--tail", "2501", "log"); r.Out != strings.Join(want[lines-2500:], "\n")+"\n" {
					t.Errorf("%s: the last 2501: %d lines, the first is %.20q", c.name, strings.Count(r.Out, "\n"), r.Out)
				}
				if out := c.do("logs", "--details", "-t", "-n", "2", "log").Must(t); !strings.Contains(out, "Z team=blue out "+strconv.Itoa(lines)) {
					t.Errorf("%s: details %q", c.name, out)
				}
			}
			select {
			case got := <-follow:
				if got != strings.Join(want, "\n")+"\n<nil>" {
					t.Errorf("followed: %d lines of %d, end %.100q", strings.Count(got, "\n"), lines, got[max(0, len(got)-100):])
				}
			case <-time.After(lab.Scale(policyWait)):
				t.Error("logs -f did not end with the container")
			}
			if out := d.Sampan("logs", "--grep", "[^0-9]9+$", "log").Must(t); out != "out 9\nout 99\nout 999" {
				t.Errorf("--grep: %q", out)
			}
		})
	}
}

// logPath is where a log lies: inspect tells it of json-file alone, as Docker does.
func logPath(t *testing.T, d *lab.Daemon, name string) string {
	t.Helper()
	id := d.Sampan("inspect", "-f", "{{.Id}}", name).Must(t)
	found, err := filepath.Glob(lab.DataRoot + "/containers/" + id + "/log/*.log")
	if err != nil || len(found) != 1 {
		t.Fatalf("the log of %s: %v, %v", name, found, err)
	}
	return found[0]
}

func TestLogDriverNames(t *testing.T) {
	d := start(t)
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"--log-driver", "syslog"}, "log driver syslog is not available yet"},
		{[]string{"--log-driver", "fluentd", "--log-opt", "fluentd-address=x:1"}, "log driver fluentd is not available yet"},
		{[]string{"--log-driver", "nonsense"}, "no log driver named 'nonsense' is registered"},
		{[]string{"--log-opt", "colour=blue"}, "unknown log opt 'colour' for json-file log driver"},
		{[]string{"--log-driver", "local", "--log-opt", "compress=perhaps"}, "invalid value for compress"},
	} {
		for _, c := range clients(d) {
			r := c.do(append(append([]string{"create"}, tc.args...), busybox, "true")...)
			if r.Code == 0 || !strings.Contains(r.Err, tc.says) {
				t.Errorf("%s %q: exit %d, %q", c.name, tc.args, r.Code, r.Err)
			}
		}
	}
	d.Sampan("run", "--name", "mute", "--log-driver", "none", busybox, "echo", "x").Must(t)
	if r := d.Sampan("logs", "mute"); r.Code == 0 || !strings.Contains(r.Err, "does not support reading") {
		t.Errorf("logs of none: %d %q", r.Code, r.Err)
	}
}

// Many logs are one story, in the order of their times.
func TestLogsOfMany(t *testing.T) {
	d := start(t)
	d.Sampan("run", "-d", "--name", "one", busybox, "sh", "-c", "echo 1; sleep 0.4; echo 3; sleep 0.4; echo 5").Must(t)
	d.Sampan("run", "-d", "--name", "three", "--log-driver", "local", busybox, "sh", "-c", "sleep 0.2; echo 2 >&2; sleep 0.4; echo 4").Must(t)
	followed := d.Sampan("logs", "-f", "one", "three")
	plain := d.Sampan("logs", "one", "three")
	for what, r := range map[string]lab.Result{"-f": followed, "plain": plain} {
		if r.Out != "one   | 1\none   | 3\nthree | 4\none   | 5\n" || r.Err != "three | 2\n" || r.Code != 0 {
			t.Errorf("%s: exit %d\n%s%s", what, r.Code, r.Out, r.Err)
		}
	}
	if r := d.Sampan("logs", "one", "missing"); r.Code == 0 || !strings.Contains(r.Err, "No such container: missing") {
		t.Errorf("one that does not exist: %d %q", r.Code, r.Err)
	}
}
