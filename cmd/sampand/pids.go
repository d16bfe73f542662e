package main

import (
	"os"
	"slices"
	"strings"

	"github.com/sampan-containers/sampan/runtime/cgroup"
)

// defaultPids is the default limit of a container's processes. Where the kernel
// cannot count them, or lets an ordinary user not, there is none: a limit that nobody
// asked for must not keep containers from starting.
func (c *config) defaultPids(layout cgroup.Layout) int64 {
	if os.Geteuid() != 0 {
		return 0
	}
	if _, err := os.Stat("/sys/fs/cgroup/pids"); layout != cgroup.V2 && err != nil {
		return 0
	}
	if layout == cgroup.V2 {
		raw, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		if err != nil || !slices.Contains(strings.Fields(string(raw)), "pids") {
			return 0
		}
	}
	return c.pidsLimit
}
