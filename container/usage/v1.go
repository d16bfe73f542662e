package usage

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// userHZ is the unit of cpuacct.stat, fixed by the kernel's interface.
const userHZ = 100

// tick is one of its units in nanoseconds.
const tick = 1e9 / userHZ

func (s *Source) readV1(out *container.StatsResponse) error {
	exists := false
	for _, dir := range s.Groups {
		if _, err := os.Stat(dir); err == nil {
			exists = true
			break
		}
	}
	if !exists {
		return gone()
	}
	return errors.Join(
		s.v1CPU(&out.CPUStats),
		s.v1Memory(&out.MemoryStats),
		s.v1Block(&out.BlkioStats),
		pids(s.Groups["pids"], &out.PidsStats, 0),
	)
}

func (s *Source) v1CPU(c *container.CPUStats) (err error) {
	dir := s.Groups["cpuacct"]
	if c.CPUUsage.TotalUsage, err = number(dir, "cpuacct.usage"); err != nil {
		return err
	}
	per, err := read(dir, "cpuacct.usage_percpu")
	if err != nil {
		return err
	}
	for f := range strings.FieldsSeq(per) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			break
		}
		c.CPUUsage.PercpuUsage = append(c.CPUUsage.PercpuUsage, n)
	}
	split, err := keyed(dir, "cpuacct.stat")
	if err != nil {
		return err
	}
	c.CPUUsage.UsageInUsermode, c.CPUUsage.UsageInKernelmode = split["user"]*tick, split["system"]*tick
	throttled, err := keyed(s.Groups["cpu"], "cpu.stat")
	c.ThrottlingData = container.ThrottlingData{Periods: throttled["nr_periods"], ThrottledPeriods: throttled["nr_throttled"], ThrottledTime: throttled["throttled_time"]}
	return err
}

func (s *Source) v1Memory(m *container.MemoryStats) (err error) {
	dir := s.Groups["memory"]
	for _, f := range []struct {
		name string
		to   *uint64
	}{
		{"memory.usage_in_bytes", &m.Usage}, {"memory.max_usage_in_bytes", &m.MaxUsage},
		{"memory.failcnt", &m.Failcnt}, {"memory.limit_in_bytes", &m.Limit},
	} {
		if *f.to, err = number(dir, f.name); err != nil {
			return err
		}
	}
	m.Stats, err = keyed(dir, "memory.stat")
	return err
}

// v1Block reads the counters of the throttling layer, which sees all I/O; those
// of the bfq scheduler come first where it is in use, as in Docker.
func (s *Source) v1Block(b *container.BlkioStats) (err error) {
	dir := s.Groups["blkio"]
	for _, f := range []struct {
		names []string
		to    *[]container.BlkioStatEntry
	}{
		{[]string{"blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"}, &b.IoServiceBytesRecursive},
		{[]string{"blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"}, &b.IoServicedRecursive},
		{[]string{"blkio.bfq.io_queued_recursive"}, &b.IoQueuedRecursive},
		{[]string{"blkio.bfq.io_service_time_recursive"}, &b.IoServiceTimeRecursive},
		{[]string{"blkio.bfq.io_wait_time_recursive"}, &b.IoWaitTimeRecursive},
		{[]string{"blkio.bfq.io_merged_recursive"}, &b.IoMergedRecursive},
		{[]string{"blkio.bfq.time_recursive"}, &b.IoTimeRecursive},
		{[]string{"blkio.bfq.sectors_recursive"}, &b.SectorsRecursive},
	} {
		*f.to = []container.BlkioStatEntry{}
		for _, name := range f.names {
			text, err := read(dir, name)
			if err != nil {
				return err
			}
			if *f.to = blockEntries(text); len(*f.to) > 0 {
				break
			}
		}
	}
	return nil
}

// blockEntries reads lines "8:0 Read 4096", or "8:0 12" without an operation;
// "Total 4096" at the end is none.
func blockEntries(text string) []container.BlkioStatEntry {
	out := []container.BlkioStatEntry{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || len(f) > 3 {
			continue
		}
		e, ok := device(f[0])
		if !ok {
			continue
		}
		if len(f) == 3 {
			e.Op = f[1]
		}
		n, err := strconv.ParseUint(f[len(f)-1], 10, 64)
		if err != nil {
			continue
		}
		e.Value = n
		out = append(out, e)
	}
	return out
}

func device(text string) (e container.BlkioStatEntry, ok bool) {
	major, minor, ok := strings.Cut(text, ":")
	if !ok {
		return e, false
	}
	var errMajor, errMinor error
	e.Major, errMajor = strconv.ParseUint(major, 10, 64)
	e.Minor, errMinor = strconv.ParseUint(minor, 10, 64)
	return e, errMajor == nil && errMinor == nil
}

// pids reads the controller that both versions have; unlimited is how "no limit"
// is shown.
func pids(dir string, p *container.PidsStats, unlimited uint64) (err error) {
	if p.Current, err = number(dir, "pids.current"); err != nil {
		return err
	}
	if p.Limit, err = number(dir, "pids.max"); err == nil && p.Limit == 1<<64-1 {
		p.Limit = unlimited
	}
	return err
}
