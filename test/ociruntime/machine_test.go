package ociruntime

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What this machine has decides what some cases must give: the thing, or its name in an
// error.

func controllerMounted(name string) bool {
	if _, err := os.Stat("/sys/fs/cgroup/" + name); err == nil {
		return true
	}
	unified, _ := os.ReadFile("/sys/fs/cgroup/unified/cgroup.controllers")
	return slices.Contains(strings.Fields(string(unified)), name)
}

func mountedWant(controller string) string {
	if controllerMounted(controller) {
		return "^$"
	}
	return ""
}

func mountedError(controller, text string) string {
	if controllerMounted(controller) {
		return ""
	}
	return text
}

func realtime() bool {
	_, err := os.Stat("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")
	return err == nil
}

func realtimeWant() string {
	if realtime() {
		return "^$"
	}
	return ""
}

func realtimeError() string {
	if realtime() {
		return ""
	}
	return "real-time"
}

func numa() bool {
	_, err := os.Stat("/proc/self/numa_maps")
	return err == nil
}

func numaWant() string {
	if numa() {
		return `^[1-9]`
	}
	return ""
}

func numaError() string {
	if numa() {
		return ""
	}
	return "memory polic"
}

// blockDevice is a disk of the machine.
func blockDevice(t testing.TB) (major, minor int64) {
	t.Helper()
	disks, _ := filepath.Glob("/sys/block/*/dev")
	for _, d := range disks {
		data, err := os.ReadFile(d)
		must(t, err)
		a, b, _ := strings.Cut(strings.TrimSpace(string(data)), ":")
		if strings.Contains(d, "/loop") {
			continue
		}
		major, _ = strconv.ParseInt(a, 10, 64)
		minor, _ = strconv.ParseInt(b, 10, 64)
		return major, minor
	}
	t.Skip("this machine has no disk")
	return 0, 0
}

// mayRoundRobin asks the kernel for a real-time policy, as a container would.
func mayRoundRobin() bool {
	return exec.Command("chrt", "-r", "7", "true").Run() == nil
}

func roundRobinWant() string {
	if mayRoundRobin() {
		return "^2 7$"
	}
	return ""
}

func roundRobinError() string {
	if mayRoundRobin() {
		return ""
	}
	return "SCHED_RR"
}
