package cgroup

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
)

// v1Settings lists what a spec's limits mean to the v1 controllers, in the order
// in which the kernel wants them.
func v1Settings(res *specs.LinuxResources, fresh bool, warn func(string)) ([]setting, error) {
	var list []setting
	list = append(list, v1Cpuset(res.CPU)...)
	list = append(list, v1CPU(res.CPU)...)
	list = append(list, v1Memory(res.Memory, fresh, warn)...)
	list = append(list, pidsSettings(res.Pids)...)
	block, err := v1Block(res.BlockIO)
	if err != nil {
		return nil, err
	}
	list = append(list, block...)
	huge, err := hugetlb(res.HugepageLimits, ".limit_in_bytes")
	if err != nil {
		return nil, err
	}
	list = append(list, huge...)
	list = append(list, v1Network(res.Network)...)
	return append(list, rdma(res.Rdma)...), nil
}

func v1Cpuset(c *specs.LinuxCPU) []setting {
	if c == nil {
		return nil
	}
	var list []setting
	// Memory nodes first: a set of CPUs is checked against nothing else.
	if c.Mems != "" {
		list = append(list, setting{controller: "cpuset", file: "cpuset.mems", value: c.Mems, limit: "cpuset memory nodes " + short(c.Mems)})
	}
	if c.Cpus != "" {
		list = append(list, setting{controller: "cpuset", file: "cpuset.cpus", value: c.Cpus, limit: "cpuset CPUs " + short(c.Cpus)})
	}
	return list
}

func v1CPU(c *specs.LinuxCPU) []setting {
	if c == nil {
		return nil
	}
	var list []setting
	add := func(file, value, limit string, turn bool) {
		list = append(list, setting{controller: "cpu", file: file, value: value, limit: limit, turn: turn})
	}
	if c.Idle != nil {
		add("cpu.idle", strconv.FormatInt(*c.Idle, 10), fmt.Sprintf("cpu idle of %d", *c.Idle), false)
	}
	// The kernel does not take shares for a group that is idle.
	if c.Shares != nil && *c.Shares != 0 && (c.Idle == nil || *c.Idle == 0) {
		add("cpu.shares", strconv.FormatUint(*c.Shares, 10), fmt.Sprintf("cpu shares of %d", *c.Shares), false)
	}
	quota := c.Quota != nil && *c.Quota != 0
	if c.Period != nil && *c.Period != 0 {
		add("cpu.cfs_period_us", strconv.FormatUint(*c.Period, 10), fmt.Sprintf("cpu period of %d µs", *c.Period), quota)
	}
	if quota {
		add("cpu.cfs_quota_us", strconv.FormatInt(*c.Quota, 10), fmt.Sprintf("cpu quota of %d µs", *c.Quota), false)
	}
	if c.Burst != nil {
		add("cpu.cfs_burst_us", strconv.FormatUint(*c.Burst, 10), fmt.Sprintf("cpu burst of %d µs", *c.Burst), false)
	}
	runtime := c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		add("cpu.rt_period_us", strconv.FormatUint(*c.RealtimePeriod, 10), fmt.Sprintf("cpu real-time period of %d µs", *c.RealtimePeriod), runtime)
	}
	if runtime {
		add("cpu.rt_runtime_us", strconv.FormatInt(*c.RealtimeRuntime, 10), fmt.Sprintf("cpu real-time runtime of %d µs", *c.RealtimeRuntime), false)
	}
	return list
}

func v1Memory(m *specs.LinuxMemory, fresh bool, warn func(string)) []setting {
	if m == nil {
		return nil
	}
	var list []setting
	add := func(file, value, limit string, turn bool) {
		list = append(list, setting{controller: "memory", file: file, value: value, limit: limit, turn: turn})
	}
	limit := m.Limit != nil && *m.Limit != 0
	swap := m.Swap != nil && *m.Swap != 0
	if limit {
		add("memory.limit_in_bytes", strconv.FormatInt(*m.Limit, 10), "memory limit of "+amount(*m.Limit), swap || *m.Limit == -1)
	}
	switch {
	case swap:
		add("memory.memsw.limit_in_bytes", strconv.FormatInt(*m.Swap, 10), "memory and swap limit of "+amount(*m.Swap), false)
	case limit && *m.Limit == -1 && !fresh:
		// No memory limit with a limit on memory and swap makes no sense.
		list = append(list, setting{controller: "memory", file: "memory.memsw.limit_in_bytes", value: "-1", limit: "no memory and swap limit", spare: true})
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		add("memory.soft_limit_in_bytes", strconv.FormatInt(*m.Reservation, 10), "memory reservation of "+amount(*m.Reservation), false)
	}
	//lint:ignore SA1019 The field is deprecated: that is what the warning says.
	if m.Kernel != nil && *m.Kernel != 0 {
		warn("kernel memory limit is ignored: the kernel counts kernel memory into the memory limit since Linux 5.4")
	}
	if m.KernelTCP != nil && *m.KernelTCP != 0 {
		add("memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(*m.KernelTCP, 10), "kernel TCP memory limit of "+amount(*m.KernelTCP), false)
	}
	if m.Swappiness != nil && *m.Swappiness != math.MaxUint64 {
		add("memory.swappiness", strconv.FormatUint(*m.Swappiness, 10), fmt.Sprintf("memory swappiness of %d", *m.Swappiness), false)
	}
	if m.DisableOOMKiller != nil && (*m.DisableOOMKiller || !fresh) {
		value := "0"
		if *m.DisableOOMKiller {
			value = "1"
		}
		add("memory.oom_control", value, "disabling the OOM killer", false)
	}
	if m.UseHierarchy != nil && !*m.UseHierarchy {
		warn("memory accounting without hierarchy is ignored: the kernel always accounts hierarchically since Linux 5.11")
	}
	return list
}

func pidsSettings(p *specs.LinuxPids) []setting {
	if p == nil || p.Limit == nil {
		return nil
	}
	value := "max"
	if *p.Limit >= 0 {
		value = strconv.FormatInt(*p.Limit, 10)
	}
	// No limit is what a machine without the controller has anyway.
	return []setting{{controller: "pids", file: "pids.max", value: value, limit: "pids limit of " + value, spare: *p.Limit < 0}}
}

func v1Block(b *specs.LinuxBlockIO) ([]setting, error) {
	if b == nil {
		return nil, nil
	}
	var list []setting
	add := func(file, other, value, limit string) {
		list = append(list, setting{controller: "blkio", file: file, elseFile: other, value: value, elseValue: value, limit: limit})
	}
	if b.Weight != nil && *b.Weight != 0 {
		if err := blockWeight(*b.Weight); err != nil {
			return nil, err
		}
		add("blkio.weight", "blkio.bfq.weight", strconv.Itoa(int(*b.Weight)), fmt.Sprintf("block I/O weight of %d", *b.Weight))
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		add("blkio.leaf_weight", "", strconv.Itoa(int(*b.LeafWeight)), fmt.Sprintf("block I/O leaf weight of %d", *b.LeafWeight))
	}
	for _, d := range b.WeightDevice {
		dev := fmt.Sprintf("%d:%d", d.Major, d.Minor)
		if d.Weight != nil {
			if err := blockWeight(*d.Weight); err != nil {
				return nil, err
			}
			add("blkio.weight_device", "blkio.bfq.weight_device", fmt.Sprintf("%s %d", dev, *d.Weight), fmt.Sprintf("block I/O weight of %d for device %s", *d.Weight, dev))
		}
		if d.LeafWeight != nil {
			add("blkio.leaf_weight_device", "", fmt.Sprintf("%s %d", dev, *d.LeafWeight), fmt.Sprintf("block I/O leaf weight of %d for device %s", *d.LeafWeight, dev))
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.devices {
			add("blkio.throttle."+t.v1, "", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate), throttleName(t, d))
		}
	}
	return list, nil
}

// throttle is one of the four kinds of rate limit, with its name on each side.
type throttle struct {
	v1, v2, unit string
	devices      []specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) []throttle {
	return []throttle{
		{"read_bps_device", "rbps", "bytes read", b.ThrottleReadBpsDevice},
		{"write_bps_device", "wbps", "bytes written", b.ThrottleWriteBpsDevice},
		{"read_iops_device", "riops", "reads", b.ThrottleReadIOPSDevice},
		{"write_iops_device", "wiops", "writes", b.ThrottleWriteIOPSDevice},
	}
}

func throttleName(t throttle, d specs.LinuxThrottleDevice) string {
	return fmt.Sprintf("block I/O limit of %d %s per second on device %d:%d", d.Rate, t.unit, d.Major, d.Minor)
}

func blockWeight(w uint16) error {
	if w < 10 || w > 1000 {
		return fault.New(fault.Invalid, "block I/O weight of %d is not between 10 and 1000", w)
	}
	return nil
}

func hugetlb(limits []specs.LinuxHugepageLimit, suffix string) ([]setting, error) {
	var list []setting
	for _, l := range limits {
		if l.Pagesize == "" || strings.Trim(l.Pagesize, "0123456789KMGB") != "" {
			return nil, fault.New(fault.Invalid, "huge page size %q is not of the form 2MB", l.Pagesize)
		}
		value := strconv.FormatUint(l.Limit, 10)
		limit := fmt.Sprintf("limit of %d bytes of %s huge pages", l.Limit, l.Pagesize)
		list = append(list,
			setting{controller: "hugetlb", file: "hugetlb." + l.Pagesize + suffix, value: value, limit: limit},
			// The reservation limit (Linux 5.7) fails mmap instead of killing at the first touch.
			setting{controller: "hugetlb", file: "hugetlb." + l.Pagesize + ".rsvd" + suffix, value: value, limit: limit, spare: true})
	}
	return list, nil
}

func v1Network(n *specs.LinuxNetwork) []setting {
	if n == nil {
		return nil
	}
	var list []setting
	if n.ClassID != nil && *n.ClassID != 0 {
		list = append(list, setting{controller: "net_cls", file: "net_cls.classid", value: strconv.FormatUint(uint64(*n.ClassID), 10), limit: fmt.Sprintf("network class %#x", *n.ClassID)})
	}
	for _, p := range n.Priorities {
		list = append(list, setting{controller: "net_prio", file: "net_prio.ifpriomap", value: fmt.Sprintf("%s %d", p.Name, p.Priority), limit: fmt.Sprintf("network priority %d on interface %q", p.Priority, p.Name)})
	}
	return list
}

func rdma(limits map[string]specs.LinuxRdma) []setting {
	var list []setting
	for _, dev := range sortedKeys(limits) {
		l := limits[dev]
		value := dev
		if l.HcaHandles != nil {
			value += fmt.Sprintf(" hca_handle=%d", *l.HcaHandles)
		}
		if l.HcaObjects != nil {
			value += fmt.Sprintf(" hca_object=%d", *l.HcaObjects)
		}
		if value != dev {
			list = append(list, setting{controller: "rdma", file: "rdma.max", value: value, limit: "RDMA limit of " + short(dev)})
		}
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func amount(n int64) string {
	if n == -1 {
		return "-1 (none)"
	}
	return size(n)
}

// short quotes a value that a user gave, within reason.
func short(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return strconv.Quote(s)
}
