package systemd

import (
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-containers/sampan/fault"
	"github.com/sampan-containers/sampan/runtime/cgroup"
)

// propertyValue is one of the types that properties of ours have.
type propertyValue interface {
	signature() string
	encode(e *encoder)
}

type (
	textValue   string
	boolValue   bool
	u64Value    uint64
	bytesValue  []byte
	pidsValue   []uint32
	textsValue  []string
	deviceValue []deviceEntry // a(ss)
	numberValue struct {      // an integer of another type: see annotation
		kind  byte
		value uint64
	}
)

func (textValue) signature() string     { return "s" }
func (boolValue) signature() string     { return "b" }
func (u64Value) signature() string      { return "t" }
func (bytesValue) signature() string    { return "ay" }
func (pidsValue) signature() string     { return "au" }
func (textsValue) signature() string    { return "as" }
func (deviceValue) signature() string   { return "a(ss)" }
func (n numberValue) signature() string { return string(n.kind) }

func (v textValue) encode(e *encoder) { e.string(string(v)) }
func (v boolValue) encode(e *encoder) { e.bool(bool(v)) }
func (v u64Value) encode(e *encoder)  { e.uint64(uint64(v)) }
func (v bytesValue) encode(e *encoder) {
	e.array(1, func() { e.b = append(e.b, v...) })
}
func (v pidsValue) encode(e *encoder) {
	e.array(4, func() {
		for _, n := range v {
			e.uint32(n)
		}
	})
}
func (v textsValue) encode(e *encoder) {
	e.array(4, func() {
		for _, s := range v {
			e.string(s)
		}
	})
}
func (v deviceValue) encode(e *encoder) {
	e.array(8, func() {
		for _, d := range v {
			e.align(8)
			e.string(d.node)
			e.string(d.access)
		}
	})
}
func (n numberValue) encode(e *encoder) {
	switch n.kind {
	case 'y':
		e.byte(byte(n.value))
	case 'n', 'q':
		e.align(2)
		e.b = append(e.b, byte(n.value), byte(n.value>>8))
	case 'x', 't':
		e.uint64(n.value)
	default:
		e.uint32(uint32(n.value))
	}
}

// prop is a property of a unit.
type prop struct {
	name  string
	value propertyValue
}

// props writes a(sv).
func (e *encoder) props(list []prop) {
	e.array(8, func() {
		for _, p := range list {
			e.align(8)
			e.string(p.name)
			e.signature(p.value.signature())
			p.value.encode(e)
		}
	})
}

// resources says in properties what a specification's limits are. What has no property
// (swappiness, huge pages, block devices …) is in the files alone.
func resources(res *specs.LinuxResources, layout cgroup.Layout) ([]prop, error) {
	if res == nil {
		return nil, nil
	}
	list, err := cpu(res.CPU, layout == cgroup.V2)
	if err != nil {
		return nil, err
	}
	list = append(list, memory(res.Memory, layout == cgroup.V2)...)
	if p := res.Pids; p != nil && p.Limit != nil {
		list = append(list, prop{"TasksMax", u64Value(limit(*p.Limit))})
	}
	if b := res.BlockIO; b != nil && b.Weight != nil && *b.Weight != 0 {
		if layout == cgroup.V2 {
			list = append(list, prop{"IOWeight", u64Value(cgroup.IOWeight(*b.Weight))})
		} else {
			list = append(list, prop{"BlockIOWeight", u64Value(*b.Weight)})
		}
	}
	if layout != cgroup.V2 {
		return list, nil
	}
	more, err := unified(res.Unified)
	return append(list, more...), err
}

// limit: systemd's word for no limit is the greatest number.
func limit(n int64) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

const (
	usec = 1_000_000
	// quotaStep is what systemd keeps of a quota: whole percents.
	quotaStep     = 10_000
	defaultPeriod = 100_000 // µs
)

func cpu(c *specs.LinuxCPU, v2 bool) ([]prop, error) {
	if c == nil {
		return nil, nil
	}
	var list []prop
	add := func(name string, v propertyValue) { list = append(list, prop{name, v}) }
	switch {
	case v2 && c.Idle != nil && *c.Idle == 1:
		add("CPUWeight", u64Value(0)) // systemd's form of cpu.idle, since 252
	case c.Shares != nil && *c.Shares != 0 && v2:
		add("CPUWeight", u64Value(cgroup.CPUWeight(*c.Shares)))
	case c.Shares != nil && *c.Shares != 0:
		add("CPUShares", u64Value(*c.Shares))
	}
	if c.Period != nil && *c.Period != 0 {
		add("CPUQuotaPeriodUSec", u64Value(*c.Period))
	}
	if c.Quota != nil && *c.Quota != 0 {
		period := uint64(defaultPeriod)
		if c.Period != nil && *c.Period != 0 {
			period = *c.Period
		}
		add("CPUQuotaPerSecUSec", u64Value(quota(*c.Quota, period)))
	}
	if !v2 {
		return list, nil
	}
	sets, err := cpusets(c.Cpus, c.Mems)
	return append(list, sets...), err
}

func quota(us int64, period uint64) uint64 {
	if us < 0 || uint64(us) > math.MaxUint64/usec {
		return math.MaxUint64
	}
	per := uint64(us) * usec / period
	return (per + quotaStep - 1) / quotaStep * quotaStep
}

func cpusets(cpus, mems string) ([]prop, error) {
	var list []prop
	for _, s := range []struct{ name, set string }{{"AllowedCPUs", cpus}, {"AllowedMemoryNodes", mems}} {
		if s.set == "" {
			continue
		}
		mask, err := bitmask(s.set)
		if err != nil {
			return nil, err
		}
		list = append(list, prop{s.name, bytesValue(mask)})
	}
	return list, nil
}

// maxBit bounds the numbers of a cpuset: the kernel has at most 8192 CPUs.
const maxBit = 1 << 16

// bitmask turns "0-2,7" into bytes whose lowest bit is number 0.
func bitmask(set string) ([]byte, error) {
	var mask []byte
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err1 != nil || err2 != nil || from > to || to >= maxBit {
			return nil, fault.New(fault.Invalid, "cpuset %.60q is not a list of numbers and ranges such as 0-2,7", set)
		}
		for n := from; n <= to; n++ {
			for int(n/8) >= len(mask) {
				mask = append(mask, 0)
			}
			mask[n/8] |= 1 << (n % 8)
		}
	}
	return mask, nil
}

func memory(m *specs.LinuxMemory, v2 bool) []prop {
	if m == nil {
		return nil
	}
	var list []prop
	add := func(name string, n int64) { list = append(list, prop{name, u64Value(limit(n))}) }
	if m.Limit != nil && *m.Limit != 0 {
		if v2 {
			add("MemoryMax", *m.Limit)
		} else {
			add("MemoryLimit", *m.Limit)
		}
	}
	if !v2 {
		return list
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		add("MemoryLow", *m.Reservation)
	}
	if m.Swap != nil && *m.Swap != 0 {
		swap := *m.Swap
		if swap > 0 && m.Limit != nil && *m.Limit > 0 {
			swap -= *m.Limit // the files' side refuses what is less
		}
		add("MemorySwapMax", swap)
	}
	return list
}

// unifiedNumbers are the v2 files with a property that takes their number.
func unifiedNumber(file string) string {
	switch file {
	case "cpu.weight":
		return "CPUWeight"
	case "memory.max":
		return "MemoryMax"
	case "memory.high":
		return "MemoryHigh"
	case "memory.low":
		return "MemoryLow"
	case "memory.min":
		return "MemoryMin"
	case "memory.swap.max":
		return "MemorySwapMax"
	case "pids.max":
		return "TasksMax"
	}
	return ""
}

func unified(files map[string]string) ([]prop, error) {
	var list []prop
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, file := range names {
		text := strings.TrimSpace(files[file])
		if name := unifiedNumber(file); name != "" {
			n := uint64(math.MaxUint64)
			if text != "max" {
				var err error
				if n, err = strconv.ParseUint(text, 10, 64); err != nil {
					return nil, fault.New(fault.Invalid, "unified limit %s: %.60q is not a number", file, text)
				}
			}
			list = append(list, prop{name, u64Value(n)})
			continue
		}
		var more []prop
		var err error
		switch file {
		case "cpuset.cpus":
			more, err = cpusets(text, "")
		case "cpuset.mems":
			more, err = cpusets("", text)
		case "cpu.idle":
			if text == "1" {
				more = []prop{{"CPUWeight", u64Value(0)}}
			}
		case "cpu.max":
			more, err = cpuMax(text)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// cpuMax reads "QUOTA [PERIOD]".
func cpuMax(text string) ([]prop, error) {
	first, second, both := strings.Cut(text, " ")
	us, period := int64(-1), uint64(defaultPeriod)
	var err1, err2 error
	if first != "max" {
		us, err1 = strconv.ParseInt(first, 10, 64)
	}
	if both {
		period, err2 = strconv.ParseUint(strings.TrimSpace(second), 10, 64)
	}
	if err1 != nil || err2 != nil || period == 0 {
		return nil, fault.New(fault.Invalid, "unified limit cpu.max: %.60q is not of the form \"QUOTA PERIOD\"", text)
	}
	return []prop{{"CPUQuotaPeriodUSec", u64Value(period)}, {"CPUQuotaPerSecUSec", u64Value(quota(us, period))}}, nil
}
