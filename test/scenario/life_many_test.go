package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/lab"
)

// load is what a daemon holds.
type load struct{ NFd, NGoroutines int }

func loadOf(t *testing.T, d *lab.Daemon) load {
	t.Helper()
	var l load
	if err := json.Unmarshal([]byte(d.Sampan("info", "--format", "{{json .}}").Must(t)), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// Many containers are listed, measured and found again by the next daemon, and
// looking at them again and again makes nothing grow. Times are told, not judged:
// make bench does that.
func TestManyContainers(t *testing.T) {
	d := start(t)
	many := counts.Of("life.many")
	took := func(what string, args ...string) string {
		begun := time.Now()
		out := d.Sampan(args...).Must(t)
		t.Logf("%s with %d containers: %v", what, many, time.Since(begun).Round(100*time.Microsecond))
		return out
	}
	for i := range many {
		d.Sampan("run", "-d", "--name", fmt.Sprintf("m%d", i), "--network", "none", "--log-driver", "local", busybox, "sleep", "100000").Must(t)
	}
	look := func() {
		t.Helper()
		if n := len(strings.Fields(d.Sampan("ps", "-q").Must(t))); n != many {
			t.Fatalf("ps shows %d containers, want %d", n, many)
		}
		if n := strings.Count(d.Sampan("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}").Must(t)+"\n", " 1\n"); n != many {
			t.Fatalf("stats shows %d containers with one process, want %d", n, many)
		}
		d.Sampan("logs", "m0").Must(t)
		d.Sampan("top", "m0").Must(t)
	}
	look() // the first time starts what stays, such as idle connections
	before := loadOf(t, d)
	for range 10 {
		look()
	}
	lab.Eventually(t, policyWait, "nothing is left of looking", func() bool {
		after := loadOf(t, d)
		return after.NFd <= before.NFd && after.NGoroutines <= before.NGoroutines
	})
	took("ps", "ps")
	took("stats --no-stream", "stats", "--no-stream")

	d.Kill()
	begun := time.Now()
	d.Restart()
	look()
	t.Logf("restart of the daemon with %d containers, to the end of the first ps, stats, logs and top: %v", many, time.Since(begun).Round(time.Millisecond))
	shims := map[int]bool{}
	for i := range many {
		shims[d.ShimOf(fmt.Sprintf("m%d", i))] = true
	}
	if len(shims) != many {
		t.Errorf("%d supervisors for %d containers", len(shims), many)
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "VmRSS") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
