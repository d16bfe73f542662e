package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// OOMKilled reports whether the kernel killed a process of the group, or of one
// below it, for lack of memory. Ask before Remove: the count goes with the group.
func (g *Group) OOMKilled() (bool, error) {
	p := g.with("memory")
	if p == nil {
		return false, nil
	}
	if p.h.v2 {
		// The count includes the groups below.
		n, err := keyed(p.dir()+"/memory.events", "oom_kill")
		if err != nil {
			return false, fmt.Errorf("read the OOM count of cgroup %s: %w", g.path, err)
		}
		return n > 0, nil
	}
	killed := false
	err := walk(p.dir(), func(fd int) error {
		data, err := readAt(fd, "memory.oom_control")
		if err != nil {
			return fmt.Errorf("read the OOM count of cgroup %s: %w", g.path, err)
		}
		n, err := value(string(data), "oom_kill")
		killed = killed || n > 0
		return err
	})
	return killed, err
}

// keyed reads one number from a file of "key value" lines.
func keyed(name, key string) (int64, error) {
	data, err := readFile(name)
	if err != nil {
		return 0, err
	}
	return value(string(data), key)
}

// value returns 0 for a key that is missing: oom_kill came with Linux 4.13.
func value(text, key string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), key+" "); ok {
			return strconv.ParseInt(rest, 10, 64)
		}
	}
	return 0, nil
}
