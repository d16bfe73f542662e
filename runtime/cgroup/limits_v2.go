package cgroup

import (
	"fmt"
	"math"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// v2Settings lists what a spec's limits, which are written in v1 terms, mean to
// the v2 controllers.
func v2Settings(res *specs.LinuxResources, warn func(string)) ([]setting, error) {
	var list []setting
	if n := res.Network; n != nil && (n.ClassID != nil && *n.ClassID != 0 || len(n.Priorities) > 0) {
		return nil, fault.New(fault.Unavailable, "network class and priorities cannot be applied: cgroup v2 has no net_cls and net_prio controllers")
	}
	list = append(list, v1Cpuset(res.CPU)...) // the same files on both
	cpu, err := v2CPU(res.CPU)
	if err != nil {
		return nil, err
	}
	list = append(list, cpu...)
	memory, err := v2Memory(res.Memory, warn)
	if err != nil {
		return nil, err
	}
	list = append(list, memory...)
	list = append(list, pidsSettings(res.Pids)...)
	block, err := v2Block(res.BlockIO)
	if err != nil {
		return nil, err
	}
	list = append(list, block...)
	huge, err := hugetlb(res.HugepageLimits, ".max")
	if err != nil {
		return nil, err
	}
	list = append(list, huge...)
	return append(list, rdma(res.Rdma)...), nil
}

func v2CPU(c *specs.LinuxCPU) ([]setting, error) {
	if c == nil {
		return nil, nil
	}
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 || c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 {
		return nil, fault.New(fault.Unavailable, "cpu real-time limits cannot be applied: cgroup v2 has none")
	}
	var list []setting
	add := func(file, value, limit string) {
		list = append(list, setting{controller: "cpu", file: file, value: value, limit: limit})
	}
	if c.Idle != nil {
		add("cpu.idle", strconv.FormatInt(*c.Idle, 10), fmt.Sprintf("cpu idle of %d", *c.Idle))
	}
	if c.Shares != nil && *c.Shares != 0 && (c.Idle == nil || *c.Idle == 0) {
		add("cpu.weight", strconv.FormatUint(CPUWeight(*c.Shares), 10), fmt.Sprintf("cpu shares of %d", *c.Shares))
	}
	quota, period := c.Quota != nil && *c.Quota != 0, c.Period != nil && *c.Period != 0
	if quota || period {
		value := "max"
		if quota && *c.Quota > 0 {
			value = strconv.FormatInt(*c.Quota, 10)
		}
		limit := fmt.Sprintf("cpu quota of %s µs", value)
		// A file that gets one number keeps its period. A period alone
		// means no quota, as nothing else is known here.
		if period {
			value += " " + strconv.FormatUint(*c.Period, 10)
			limit += fmt.Sprintf(" in a period of %d µs", *c.Period)
		}
		add("cpu.max", value, limit)
	}
	if c.Burst != nil {
		add("cpu.max.burst", strconv.FormatUint(*c.Burst, 10), fmt.Sprintf("cpu burst of %d µs", *c.Burst))
	}
	return list, nil
}

// CPUWeight maps cpu.shares (2…262144, default 1024) to cpu.weight
// (1…10000, default 100), so that 2, 1024 and 262144 become 1, 100 and 10000:
// the curve through these points on which runc and crun have settled, since a
// straight line would give a default container a weight of 39.
func CPUWeight(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// IOWeight maps a block I/O weight of v1 (10…1000) to io.weight (1…10000).
func IOWeight(w uint16) uint64 { return 1 + (uint64(max(w, 10))-10)*9999/990 }

func v2Memory(m *specs.LinuxMemory, warn func(string)) ([]setting, error) {
	if m == nil {
		return nil, nil
	}
	var list []setting
	add := func(file string, bytes int64, limit string) {
		value := "max"
		if bytes >= 0 {
			value = strconv.FormatInt(bytes, 10)
		}
		list = append(list, setting{controller: "memory", file: file, value: value, limit: limit})
	}
	if m.Swap != nil && *m.Swap != 0 {
		swap := *m.Swap
		if swap > 0 {
			// The spec counts memory and swap together, v2 counts swap alone.
			if m.Limit == nil || *m.Limit <= 0 {
				return nil, fault.New(fault.Invalid, "memory and swap limit of %s needs a memory limit too on cgroup v2", size(swap))
			}
			swap -= *m.Limit
		}
		add("memory.swap.max", swap, "memory and swap limit of "+amount(*m.Swap))
		if swap <= 0 {
			// No swap, or no limit on it, is what a kernel without swap
			// accounting does by itself.
			list[len(list)-1].spare = true
		}
	}
	if m.Limit != nil && *m.Limit != 0 {
		add("memory.max", *m.Limit, "memory limit of "+amount(*m.Limit))
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		add("memory.low", *m.Reservation, "memory reservation of "+amount(*m.Reservation))
	}
	//lint:ignore SA1019 The field is deprecated: that is what the warning says.
	if m.Kernel != nil && *m.Kernel != 0 || m.KernelTCP != nil && *m.KernelTCP != 0 {
		warn("kernel memory limits are ignored: cgroup v2 counts kernel memory into the memory limit")
	}
	if m.Swappiness != nil && *m.Swappiness != math.MaxUint64 {
		warn("memory swappiness is ignored: cgroup v2 has no such setting")
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		warn("disabling the OOM killer is ignored: cgroup v2 cannot do that")
	}
	return list, nil
}

func v2Block(b *specs.LinuxBlockIO) ([]setting, error) {
	if b == nil {
		return nil, nil
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		return nil, fault.New(fault.Unavailable, "block I/O leaf weight cannot be applied: cgroup v2 has none")
	}
	var list []setting
	weight := func(w uint16, dev string) error {
		if err := blockWeight(w); err != nil {
			return err
		}
		limit := fmt.Sprintf("block I/O weight of %d", w)
		if dev != "" {
			limit += " for device " + dev
			dev += " "
		}
		// io.bfq.weight takes the v1 scale; io.weight has 1…10000.
		list = append(list, setting{controller: "io", file: "io.bfq.weight", value: dev + strconv.Itoa(int(w)),
			elseFile: "io.weight", elseValue: dev + strconv.FormatUint(IOWeight(w), 10), limit: limit})
		return nil
	}
	if b.Weight != nil && *b.Weight != 0 {
		if err := weight(*b.Weight, ""); err != nil {
			return nil, err
		}
	}
	for _, d := range b.WeightDevice {
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			return nil, fault.New(fault.Unavailable, "block I/O leaf weight cannot be applied: cgroup v2 has none")
		}
		if d.Weight != nil && *d.Weight != 0 {
			if err := weight(*d.Weight, fmt.Sprintf("%d:%d", d.Major, d.Minor)); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.devices {
			rate := "max"
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			list = append(list, setting{controller: "io", file: "io.max", value: fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, t.v2, rate), limit: throttleName(t, d)})
		}
	}
	return list, nil
}
