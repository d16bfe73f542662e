package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/sampan-containers/sampan/container/index"
	"github.com/sampan-containers/sampan/fault"
)

// resources are the numbers of <asm-generic/resource.h>; all our platforms have these.
var resources = []string{"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime"}

// passes bounds how often the processes are listed: one that its parent forks before
// it has its new limits is found by the next look.
const passes = 16

// Ulimits gives every process of the container its new limits (prlimit(2)). When the
// kernel refuses one for the first process, nothing is changed; for a process further
// on it is a warning.
func (c *Control) Ulimits(e *index.Entry, limits []*container.Ulimit) (warnings []string, err error) {
	if len(limits) == 0 {
		return nil, nil
	}
	first := e.Run().Shim.Pid()
	seen := map[int]bool{}
	for pass := 0; pass < passes; pass++ {
		pids, err := c.Groups.Procs(c.Paths.Cgroup(e.Record()))
		if err != nil {
			return nil, err
		}
		if pass == 0 {
			pids = append([]int{first}, slices.DeleteFunc(pids, func(pid int) bool { return pid == first })...)
		}
		news := 0
		for _, pid := range pids {
			if seen[pid] {
				continue
			}
			seen[pid] = true
			news++
			err := limit(pid, limits)
			switch {
			case err == nil || errors.Is(err, unix.ESRCH):
			case pid == first:
				return nil, err
			default:
				warnings = append(warnings, err.Error())
			}
		}
		if news == 0 {
			break
		}
	}
	return warnings, nil
}

// limit sets the limits of one process, or none.
func limit(pid int, limits []*container.Ulimit) error {
	before := make([]unix.Rlimit, len(limits))
	for i, u := range limits {
		number := slices.Index(resources, strings.ToLower(u.Name))
		next := unix.Rlimit{Cur: uint64(u.Soft), Max: uint64(u.Hard)}
		err := unix.Prlimit(pid, number, &next, &before[i])
		if err == nil {
			continue
		}
		for j := range i { // what was lowered may stay so: to raise a hard limit is a privilege
			_ = unix.Prlimit(pid, slices.Index(resources, strings.ToLower(limits[j].Name)), &before[j], nil)
		}
		if errors.Is(err, unix.EPERM) {
			return fault.New(fault.Forbidden, "ulimit %s: process %d has a hard limit of %s, and this daemon may not raise it (it lacks CAP_SYS_RESOURCE)", u.Name, pid, hard(pid, number))
		}
		return fmt.Errorf("ulimit %s of process %d: %w", u.Name, pid, err)
	}
	return nil
}

func hard(pid, number int) string {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, number, nil, &now); err != nil {
		return "another value"
	}
	if now.Max == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return fmt.Sprint(now.Max)
}
