package scenario

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-containers/sampan/test/counts"
	"github.com/sampan-containers/sampan/test/lab"
)

// load is what a daemon holds.
type load struct {
	NFd, NGoroutines int
	memory           int // resident, in KiB
}

func loadOf(t *testing.T, d *lab.Daemon) load {
	t.Helper()
	var l load
	if err := json.Unmarshal([]byte(d.Sampan("info", "--format", "{{json .}}").Must(t)), &l); err != nil {
		t.Fatal(err)
	}
	l.memory = residentOf(t, d.Pid())
	return l
}

// residentOf is what a process has in memory, in KiB.
func residentOf(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("process %d has no VmRSS", pid)
	return 0
}

// supervisors is what the supervisors hold together: descriptors, and memory in KiB.
func supervisors(t *testing.T, pids []int) (fds, memory int) {
	t.Helper()
	for _, pid := range pids {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		fds += len(list)
		memory += residentOf(t, pid)
	}
	return fds, memory
}

// poll looks at the containers again and again, as monitoring does. After the first
// quarter, in which caches and pools fill, nothing grows: not the daemon, not the
// supervisors.
func poll(t *testing.T, d *lab.Daemon, pids []int, look func()) {
	t.Helper()
	rounds := counts.Of("life.polls")
	begun := time.Now()
	var first, last load
	var fds, memory int
	// A heap breathes: the least of a quarter of the rounds is what counts.
	least := [4]int{math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt}
	for i := range rounds {
		look()
		quarter := i * len(least) / rounds
		least[quarter] = min(least[quarter], residentOf(t, d.Pid()))
		if i == rounds/4 {
			first = loadOf(t, d)
			fds, memory = supervisors(t, pids)
		}
	}
	lab.Eventually(t, policyWait, "the daemon has no more descriptors and goroutines than after the first quarter", func() bool {
		last = loadOf(t, d)
		return last.NFd <= first.NFd && last.NGoroutines <= first.NGoroutines
	})
	lastFds, lastMemory := supervisors(t, pids)
	t.Logf("%d rounds in %v: the daemon %+v, then %+v, at least %d KiB in each quarter; %d supervisors %d descriptors and %d KiB, then %d and %d",
		rounds, time.Since(begun).Round(time.Second), first, last, least, len(pids), fds, memory, lastFds, lastMemory)
	const breath = 8 << 10
	if least[3] > least[1]+breath {
		t.Errorf("the daemon grew from %d to %d KiB", least[1], least[3])
	}
	if lastFds > fds {
		t.Errorf("the supervisors' descriptors grew from %d to %d", fds, lastFds)
	}
	if lastMemory > memory+memory/10 {
		t.Errorf("the supervisors grew from %d to %d KiB", memory, lastMemory)
	}
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
	t.Logf("the daemon has %d KiB", residentOf(t, d.Pid()))
	poll(t, d, slices.Collect(maps.Keys(shims)), func() {
		look()
		d.Sampan("ps", "-a", "--size").Must(t)
		d.Sampan("inspect", "m0").Must(t)
		d.Sampan("system", "df").Must(t)
	})
}
