package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory is what one process holds, in KiB.
type memory struct{ rss, pss, privateDirty int }

// memoryOf reads /proc/PID/smaps_rollup (proc(5)).
func memoryOf(pid int) (memory, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if err != nil {
		return memory{}, err
	}
	var m memory
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "Rss:":
			m.rss = n
		case "Pss:":
			m.pss = n
		case "Private_Dirty:":
			m.privateDirty = n
		}
	}
	if m.rss == 0 {
		return m, fmt.Errorf("process %d: smaps_rollup has no Rss", pid)
	}
	return m, nil
}

// average over several processes.
func average(pids []int) (memory, error) {
	var sum memory
	for _, pid := range pids {
		m, err := memoryOf(pid)
		if err != nil {
			return memory{}, err
		}
		sum.rss, sum.pss, sum.privateDirty = sum.rss+m.rss, sum.pss+m.pss, sum.privateDirty+m.privateDirty
	}
	if n := len(pids); n > 0 {
		sum.rss, sum.pss, sum.privateDirty = sum.rss/n, sum.pss/n, sum.privateDirty/n
	}
	return sum, nil
}
