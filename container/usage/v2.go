package usage

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

const microsecond = 1000 // in nanoseconds

func readV2(dir string, out *container.StatsResponse) error {
	if _, err := os.Stat(dir); err != nil {
		return gone()
	}
	return errors.Join(
		v2CPU(dir, &out.CPUStats),
		v2Memory(dir, &out.MemoryStats),
		v2Block(dir, &out.BlkioStats),
		pids(dir, &out.PidsStats, 1<<64-1),
	)
}

func v2CPU(dir string, c *container.CPUStats) error {
	n, err := keyed(dir, "cpu.stat")
	c.CPUUsage.TotalUsage = n["usage_usec"] * microsecond
	c.CPUUsage.UsageInUsermode = n["user_usec"] * microsecond
	c.CPUUsage.UsageInKernelmode = n["system_usec"] * microsecond
	c.ThrottlingData = container.ThrottlingData{Periods: n["nr_periods"], ThrottledPeriods: n["nr_throttled"], ThrottledTime: n["throttled_usec"] * microsecond}
	return err
}

func v2Memory(dir string, m *container.MemoryStats) (err error) {
	if m.Usage, err = number(dir, "memory.current"); err != nil {
		return err
	}
	if m.Limit, err = number(dir, "memory.max"); err != nil {
		return err
	}
	events, err := keyed(dir, "memory.events")
	if err != nil {
		return err
	}
	m.Failcnt = events["oom"]
	m.Stats, err = keyed(dir, "memory.stat")
	return err
}

// v2Block reads lines "8:0 rbytes=1 wbytes=2 rios=3 …". Docker shows the bytes
// alone, and null for what only v1 counts.
func v2Block(dir string, b *container.BlkioStats) error {
	text, err := read(dir, "io.stat")
	b.IoServiceBytesRecursive = v2BlockEntries(text)
	return err
}

func v2BlockEntries(text string) []container.BlkioStatEntry {
	out := []container.BlkioStatEntry{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		e, ok := device(f[0])
		if !ok {
			continue
		}
		for _, pair := range f[1:] {
			key, value, _ := strings.Cut(pair, "=")
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				continue
			}
			switch key {
			case "rbytes":
				e.Op = "read"
			case "wbytes":
				e.Op = "write"
			default:
				continue
			}
			e.Value = n
			out = append(out, e)
		}
	}
	return out
}
